// The command tree, and the one place where errors become exit codes.

import { Command, CommanderError } from "commander";
import { addBridge } from "./commands/bridge.ts";
import { addChannel } from "./commands/channel.ts";
import { addCompletion } from "./commands/completion.ts";
import { addDemo } from "./commands/demo.ts";
import { addDevice } from "./commands/device.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addImage } from "./commands/image.ts";
import { addInit } from "./commands/init.ts";
import { addProvision } from "./commands/provision.ts";
import { addPub } from "./commands/pub.ts";
import { addServe } from "./commands/serve.ts";
import { addStatus } from "./commands/status.ts";
import { addSub } from "./commands/sub.ts";
import { EXIT, type Exit, explain } from "./errors.ts";
import type { Io } from "./io.ts";
import { VERSION } from "./version.ts";

/** Runs one command line; never throws and never ends the process. */
export async function run(args: string[], io: Io): Promise<Exit> {
  try {
    await createProgram(io).parseAsync(args, { from: "user" });
    return EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    return report(error, io);
  }
}

function report(error: unknown, io: Io): Exit {
  const { exit, message, hint } = explain(error);
  if (message !== "") io.err(`ampoule: error: ${message}\n`);
  if (hint !== undefined) io.err(`ampoule: hint: ${hint}\n`);
  return exit;
}

function createProgram(io: Io): Command {
  const program = new Command("ampoule")
    .description("End-to-end encryption over MQTT: the broker carries messages and reads none.")
    .version(VERSION, "--version", "print the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand(false)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.out(text),
      writeErr: (text) => io.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "ampoule: error: ")),
    })
    .showHelpAfterError("ampoule: hint: see --help of the command");
  program.addHelpText("after", OVERVIEW);
  for (const add of COMMANDS) add(program, io);
  return program;
}

const COMMANDS = [
  addInit,
  addProvision,
  addImage,
  addChannel,
  addDevice,
  addServe,
  addBridge,
  addPub,
  addSub,
  addStatus,
  addDoctor,
  addDemo,
  addCompletion,
];

const OVERVIEW = `
Examples:
  $ ampoule demo
      everything at once, on this machine
  $ ampoule init && ampoule provision boiler && ampoule provision desk
  $ ampoule channel create 'plant/+/live'
  $ ampoule channel grant 'plant/+/live' boiler && ampoule channel grant 'plant/+/live' desk
  $ ampoule serve --url mqtt://localhost &
  $ ampoule sub -I desk.json -t 'plant/+/live' -v &
  $ uptime | ampoule pub -I boiler.json -t plant/boiler/live -s

Exit codes: 0 done, 1 usage, 2 input or output, 3 refused.`;
