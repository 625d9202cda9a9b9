// What the audience sees: numbered headings, evidence in two columns, verdicts.

import type { Io } from "../cli/io.ts";

const WIDTH_MIN = 76;
const WIDTH_MAX = 96;
const INDENT = "   ";

export class Screen {
  readonly #io: Io;
  readonly #left: number;
  readonly #width: number;
  #number = 0;

  constructor(io: Io, columns: number | undefined) {
    this.#io = io;
    this.#width = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, (columns ?? 80) - 2));
    this.#left = Math.floor(this.#width * 0.5);
  }

  get width(): number {
    return this.#width;
  }

  title(text: string, below: string): void {
    const { colors } = this.#io;
    this.#io.out(`\n${INDENT}${colors.bold(text)}\n${INDENT}${colors.dim(below)}\n`);
  }

  /** A numbered heading and one sentence of what happens. */
  act(heading: string, sentence: string): void {
    const { colors } = this.#io;
    this.#number += 1;
    const number = String(this.#number).padStart(2);
    this.#io.out(`\n${colors.cyan(number)} ${colors.bold(heading)}\n${this.#indented(sentence)}\n`);
  }

  line(text: string): void {
    this.#io.out(`${this.#indented(text)}\n`);
  }

  faint(text: string): void {
    this.#io.out(`${INDENT}${this.#io.colors.dim(text)}\n`);
  }

  /** A command as a person would type it; it has just been run. */
  command(text: string): void {
    const { colors } = this.#io;
    this.#io.out(`${INDENT}${colors.dim("$")} ${cut(text, this.#width - INDENT.length - 2)}\n`);
  }

  columns(left: string, right: string): void {
    const { colors } = this.#io;
    this.#io.out(`${INDENT}${colors.dim(this.#pad(left))}${colors.dim(`| ${right}`)}\n`);
  }

  /** What a member reads beside what the broker carries. */
  pair(left: string, bytes: Uint8Array): void {
    const { colors } = this.#io;
    const room = this.#width - this.#left - INDENT.length - 2;
    this.#io.out(
      `${INDENT}${colors.green(this.#pad(left))}${colors.dim("|")} ${colors.yellow(hexCut(bytes, room))}\n`,
    );
  }

  /** A refusal beside the bytes that were refused. */
  refusal(left: string, bytes: Uint8Array): void {
    const { colors } = this.#io;
    const room = this.#width - this.#left - INDENT.length - 2;
    this.#io.out(
      `${INDENT}${colors.red(this.#pad(left))}${colors.dim("|")} ${colors.yellow(hexCut(bytes, room))}\n`,
    );
  }

  verdict(passed: boolean, text: string): void {
    const { colors } = this.#io;
    const sign = passed ? colors.green("✓") : colors.red("✗");
    const [first = "", ...more] = wrap(passed ? text : `FAILED: ${text}`, this.#width - INDENT.length - 2);
    const paint = passed ? (line: string): string => line : colors.red;
    this.#io.out(`${INDENT}${sign} ${paint(first)}\n`);
    for (const line of more) this.#io.out(`${INDENT}  ${paint(line)}\n`);
  }

  /** Lines as they are. */
  block(text: string): void {
    for (const line of text.trimEnd().split("\n")) this.#io.out(`${INDENT}${line}\n`);
    this.#io.out("\n");
  }

  #indented(text: string): string {
    return wrap(text, this.#width - INDENT.length)
      .map((line) => `${INDENT}${line}`)
      .join("\n");
  }

  #pad(text: string): string {
    return cut(text, this.#left - 1).padEnd(this.#left);
  }
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

/** As many bytes as there is room for, and how many there are. */
function hexCut(bytes: Uint8Array, room: number): string {
  const tail = `… ${bytes.length} B`;
  const count = Math.max(2, Math.floor((room - tail.length) / 2));
  const hex = Buffer.from(bytes).toString("hex");
  return hex.length <= 2 * count ? hex : `${hex.slice(0, 2 * count)}${tail}`;
}
