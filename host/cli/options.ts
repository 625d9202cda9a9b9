// Parsers of option values. Each refuses by name what the protocol or MQTT would refuse later.

import { InvalidArgumentError } from "commander";

/** An integer in [min, max]. */
export function integer(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max))
      throw new InvalidArgumentError(`It is a number from ${min} to ${max}.`);
    return number;
  };
}

/** Seconds, fractions allowed, more than zero. */
export function seconds(value: string): number {
  const number = /^\d{1,7}(\.\d{1,3})?$/.test(value) ? Number(value) : Number.NaN;
  if (!(number > 0)) throw new InvalidArgumentError("It is a number of seconds, more than 0.");
  return number;
}

const TOPIC_MAX = 1024;

/** A concrete topic: no wildcards, 1 to 1024 bytes of UTF-8. */
export function topic(value: string): string {
  checkText(value);
  if (/[+#]/.test(value)) throw new InvalidArgumentError("A topic has no wildcards; a filter has.");
  return value;
}

/** A topic filter: + stands for a whole level, # for the rest. */
export function filter(value: string): string {
  checkText(value);
  const levels = value.split("/");
  const bad = levels.some(
    (level, at) => (level.length > 1 && /[+#]/.test(level)) || (level === "#" && at < levels.length - 1),
  );
  if (bad) throw new InvalidArgumentError("A wildcard is a whole level, and # only the last one.");
  return value;
}

function checkText(value: string): void {
  if (value === "" || Buffer.byteLength(value) > TOPIC_MAX) {
    throw new InvalidArgumentError(`It has 1 to ${TOPIC_MAX} bytes.`);
  }
  if (value.includes("\0") || !value.isWellFormed())
    throw new InvalidArgumentError("It is not valid UTF-8 text.");
}

/** Gathers values of an option that may be repeated. */
export function collect(parse: (value: string) => string): (value: string, before?: string[]) => string[] {
  return (value, before = []) => [...before, parse(value)];
}

const SUITES = ["ascon-siv", "ascon-aead", "xoodyak-siv", "xoodyak-aead"] as const;
export type SuiteName = (typeof SUITES)[number];
export const SUITE_NAMES: readonly string[] = SUITES;

/** Number of a suite in SPEC section 3. */
export function suiteNumber(name: string): 0 | 1 | 2 | 3 {
  return SUITES.indexOf(name as SuiteName) as 0 | 1 | 2 | 3;
}

export function suiteName(number: number): string {
  return SUITES[number] ?? `suite ${number}`;
}

/** Multiple of 8, 24 to 1024. */
export function frameSize(value: string): number {
  const number = integer(24, 1024)(value);
  if (number % 8 !== 0) throw new InvalidArgumentError("A frame size is a multiple of 8.");
  return number;
}
