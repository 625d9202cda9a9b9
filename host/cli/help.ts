// Shared shape of help texts.

import type { Command } from "commander";

/** Appends worked examples: pairs of a command line and what it does. */
export function examples(command: Command, lines: [line: string, what: string][]): Command {
  const text = lines.map(([line, what]) => `  $ ${line}\n      ${what}`).join("\n");
  return command.addHelpText("after", `\nExamples:\n${text}`);
}
