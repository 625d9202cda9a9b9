// `ampoule demo`: the whole system on this machine, in under a minute.

import { type Command, Option } from "commander";
import { ENGINE_NAMES, engineOf } from "../../demo/engines.ts";
import type { OwnBroker } from "../../demo/stage.ts";
import type { LinkOptions } from "../../world.ts";
import { addLoginOptions, broker as brokerOf, type LoginOptions, loginWords } from "../broker.ts";
import { EXIT, ended, usage } from "../errors.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";

interface DemoCommandOptions extends LoginOptions {
  watch?: boolean;
  broker?: string;
  fast?: boolean;
  slow?: boolean;
  engine: string;
  log?: string;
}

export function addDemo(program: Command, io: Io): void {
  const command = program
    .command("demo")
    .description("a broker, a key server and a fleet on this machine, with its own live measurements")
    .option("--watch", "go on with live lines at the end, until Ctrl-C")
    .option("--broker <url>", "use a running MQTT broker; the embedded one otherwise")
    .addOption(new Option("--fast", "short pauses").conflicts("slow"))
    .option("--slow", "long pauses, to talk over")
    .addOption(
      new Option("--engine <name>", "what runs the WebAssembly core").choices(ENGINE_NAMES).default("v8"),
    )
    .option("--log <file>", "keep what the broker saw: a line of time, topic and hex for each message");
  addLoginOptions(command.optionsGroup("With --broker:")).action(async (options: DemoCommandOptions) => {
    const { runDemo } = await import("../../demo/main.ts");
    const pace = options.fast === true ? "fast" : options.slow === true ? "slow" : "normal";
    const { watch = false, engine, log } = options;
    const broker = ownBroker(options, io);
    // Here, before several processes want it at once.
    engineOf(engine, (line) => io.err(`${line}\n`));
    const passed = await runDemo({ watch, broker, engine, log, pace }, io);
    if (!passed) throw ended(EXIT.refused);
  });
  examples(command, [
    ["ampoule demo", "everything, with nothing installed but Node"],
    ["ampoule demo --engine wasm3", "the devices in an interpreter made for microcontrollers"],
    ["ampoule demo --broker mqtt://localhost --watch", "through your own broker, and on until Ctrl-C"],
    [
      "ampoule demo --broker mqtts://broker.example --username demo --password-file pw",
      "one that asks who you are",
    ],
  ]);
}

/** The embedded broker asks nobody for a name. */
function ownBroker(options: DemoCommandOptions, io: Io): OwnBroker | undefined {
  const words = loginWords(options);
  const { broker: url, ...login } = options;
  if (url === undefined) {
    const flag = words.find((word) => word.startsWith("--") && word !== "--username");
    if (flag !== undefined) throw usage(`${flag} without --broker`);
    return undefined;
  }
  const { url: address, options: link } = brokerOf({ ...login, url }, io);
  return { url: address, link: asText(link), words };
}

/** Certificates go to the device processes as JSON. */
function asText(link: LinkOptions): LinkOptions {
  const texts = Object.entries(link).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? Buffer.from(value).toString() : value,
  ]);
  return Object.fromEntries(texts);
}
