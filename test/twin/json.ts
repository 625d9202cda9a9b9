/** JSON as the formatter of this repository leaves it, so that generated files pass its check. */

const WIDTH = 110;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

function isMany(value: Json): boolean {
  if (value === null || typeof value !== "object") return false;
  return (Array.isArray(value) ? value : Object.keys(value)).length > 1;
}

// Lists of two and more objects, or of lists, stand one to a line whatever their length.
function breaks(list: Json[]): boolean {
  const lists = list.every((value) => Array.isArray(value));
  const objects = list.every((value) => !Array.isArray(value));
  return list.length > 1 && (lists || objects) && list.every(isMany);
}

// The value on one line, or null when it may not be.
function flat(value: Json): string | null {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) {
    const parts = breaks(value) ? [null] : value.map(flat);
    return parts.includes(null) ? null : `[${parts.join(", ")}]`;
  }
  const parts = Object.entries(value).map(([key, inner]) => {
    const text = flat(inner);
    return text === null ? null : `${JSON.stringify(key)}: ${text}`;
  });
  if (parts.includes(null)) return null;
  return parts.length === 0 ? "{}" : `{ ${parts.join(", ")} }`;
}

// As many numbers on a line as it takes.
function fill(list: number[], indent: string): string[] {
  const lines: string[] = [];
  let line = indent;
  list.forEach((value, i) => {
    const text = `${value}${i === list.length - 1 ? "" : ","}`;
    const longer = line === indent ? indent + text : `${line} ${text}`;
    if (longer.length > WIDTH) {
      lines.push(line);
      line = indent + text;
    } else {
      line = longer;
    }
  });
  return [...lines, line];
}

// `used` columns of the line are taken before the value, `after` behind it.
function print(value: Json, indent: string, used: number, after: number): string {
  const line = flat(value);
  if (line !== null && used + line.length + after <= WIDTH) return line;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.every((x) => typeof x === "number")) return `[\n${fill(value, inner).join("\n")}\n${indent}]`;
    const parts = value.map((x, i) => inner + print(x, inner, inner.length, i === value.length - 1 ? 0 : 1));
    return `[\n${parts.join(",\n")}\n${indent}]`;
  }
  const entries = Object.entries(value);
  const parts = entries.map(([key, x], i) => {
    const name = `${inner}${JSON.stringify(key)}: `;
    return name + print(x, inner, name.length, i === entries.length - 1 ? 0 : 1);
  });
  return `{\n${parts.join(",\n")}\n${indent}}`;
}

/** A value of JSON types only; undefined fields are left out. */
export function printJson(value: unknown): string {
  return `${print(JSON.parse(JSON.stringify(value)), "", 0, 0)}\n`;
}
