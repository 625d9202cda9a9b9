// `ampoule doctor`: is everything Ampoule needs here, and does the broker do its part?

import type { Command } from "commander";
import { addBrokerOptions, type BrokerOptions, broker } from "../broker.ts";
import { BROKER_CHECKS, checkBroker } from "../doctor/broker.ts";
import { checkIdentity, checkRealm } from "../doctor/files.ts";
import { type Finding, ok } from "../doctor/finding.ts";
import { EXIT, ended } from "../errors.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { topic } from "../options.ts";
import { startProgress } from "../progress.ts";
import { addRealmOptions, type RealmOptions } from "../realm.ts";

interface DoctorOptions extends RealmOptions, BrokerOptions {
  identity?: string;
  prefix?: string;
  local?: boolean;
  json?: boolean;
}

export function addDoctor(program: Command, io: Io): void {
  const command = program
    .command("doctor")
    .description("check files, realm, identity and broker; exit 2 when something fails")
    .option("-I, --identity <file>", "an identity to check")
    .option(
      "--prefix <topic>",
      "first topic level of control topics (default: that of realm or identity)",
      topic,
    )
    .option("--local", "leave the broker alone")
    .option("--json", "print JSON");
  addBrokerOptions(addRealmOptions(command)).action((options: DoctorOptions) => doctor(options, io));
  examples(command, [
    [
      "ampoule doctor --url mqtt://localhost",
      "everything, with a hint for each thing that is not as it should be",
    ],
    ["ampoule doctor --local -I boiler.json", "files only"],
  ]);
}

async function doctor(options: DoctorOptions, io: Io): Promise<void> {
  const target = options.local === true ? undefined : broker(options, io);
  const examined = [checkRealm(options, io)];
  if (options.identity !== undefined) examined.push(checkIdentity(options.identity));
  const findings = [checkNode(), ...examined.flatMap((found) => found.findings)];
  const known = [options, ...examined].find(({ prefix }) => prefix !== undefined)?.prefix;
  if (target !== undefined) {
    const progress = startProgress(BROKER_CHECKS, io, options.json === true);
    findings.push(...(await checkBroker(target, known ?? "ampoule", progress.step).finally(progress.stop)));
  }
  io.out(
    options.json === true
      ? `${JSON.stringify(findings)}\n`
      : findings.map((finding) => line(finding, io)).join(""),
  );
  if (findings.some(({ level }) => level === "fail")) throw ended(EXIT.io);
}

function checkNode(): Finding {
  return ok(`Node ${process.versions.node}; no clock is needed`);
}

function line({ level, what, hint }: Finding, { colors }: Io): string {
  const paint = { ok: colors.green, warn: colors.yellow, fail: colors.red }[level];
  const first = `${paint(level.padEnd(4))}  ${what}\n`;
  return hint === undefined ? first : `${first}      ${colors.dim(`hint: ${hint}`)}\n`;
}
