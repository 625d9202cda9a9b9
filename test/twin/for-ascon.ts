import { Device } from "./device.ts";
import { expectedOf, identityOf, type Line, perform, type Script } from "./script.ts";

const ASCON_SUITES = 0b0011;

/**
 * The script for a build without Xoodyak, or null if it needs that. Answers tell of the suites of a build: the slow
 * twin says what they are then.
 */
export function forAscon(script: Script): Script | null {
  const options = { ...script.options, suites: ASCON_SUITES };
  const twin = new Device(options);
  const given = identityOf(script);
  if (given !== null) twin.provision(given.identity, given.bootNonce);
  const calls: Line[] = [];
  for (const line of script.calls) {
    const gives = expectedOf(perform(twin, line));
    const tells = line.call === "ack" || line.call === "hello";
    if (
      JSON.stringify(gives) !== JSON.stringify(line.gives) &&
      !(tells && gives.status === line.gives.status)
    ) {
      return null;
    }
    calls.push({ ...line, gives });
  }
  return { ...script, options, calls };
}
