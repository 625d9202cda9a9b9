// MQTT topic filters: which are well formed, and which two can match the same topic.

import { ServerError } from "./errors.ts";

const FILTER_MAX = 1024;
const PREFIX_MAX = 256;
const encoder = new TextEncoder();

/** Throws BAD_FILTER unless MQTT allows the filter and a topic can match it. */
export function checkFilter(filter: string): void {
  const bad = (why: string) => new ServerError("BAD_FILTER", `filter ${JSON.stringify(filter)}: ${why}`);
  if (typeof filter !== "string" || filter === "") throw bad("it is empty");
  if (!isTopicText(filter)) throw bad("it holds a character no topic may have");
  if (encoder.encode(filter).length > FILTER_MAX) throw bad(`it is longer than ${FILTER_MAX} bytes`);
  if (filter.startsWith("$share/")) throw bad("it is a shared subscription, not a filter of topics");
  const levels = filter.split("/");
  for (const [i, level] of levels.entries()) {
    if (level.length > 1 && /[+#]/.test(level)) throw bad("a wildcard must fill its level");
    if (level === "#" && i !== levels.length - 1) throw bad("# must be the last level");
  }
}

/** Throws BAD_PREFIX unless the prefix can begin control and epoch topics. */
export function checkPrefix(prefix: string): void {
  const bad = (why: string) => new ServerError("BAD_PREFIX", `prefix ${JSON.stringify(prefix)}: ${why}`);
  if (typeof prefix !== "string" || prefix === "") throw bad("it is empty");
  if (!isTopicText(prefix)) throw bad("it holds a character no topic may have");
  if (encoder.encode(prefix).length > PREFIX_MAX) throw bad(`it is longer than ${PREFIX_MAX} bytes`);
  if (/[+#]/.test(prefix)) throw bad("it holds a wildcard");
  if (prefix.startsWith("$")) throw bad("topics that begin with $ belong to the broker");
}

/** Control and epoch topics (SPEC sections 5 and 10), which no channel may match. */
export function reservedFilters(prefix: string): string[] {
  return [`${prefix}/+/down`, `${prefix}/+/up`, `${prefix}/epoch/+`];
}

export function hasWildcard(filter: string): boolean {
  return filter.split("/").some((level) => level === "+" || level === "#");
}

/** True exactly when some topic matches both filters. Both must have passed checkFilter. */
export function overlap(a: string, b: string): boolean {
  const left = a.split("/");
  const right = b.split("/");
  if (hidesFrom(left[0], right[0]) || hidesFrom(right[0], left[0])) return false;
  for (let i = 0; ; i++) {
    const l = left[i];
    const r = right[i];
    // # also matches the level above it, so a filter that ends here matches too, unless by an empty topic.
    if (l === "#" || r === "#") {
      return (l !== undefined && r !== undefined) || i > 1 || (left[0] !== "" && right[0] !== "");
    }
    if (l === undefined || r === undefined) return l === r;
    if (l !== r && l !== "+" && r !== "+") return false;
  }
}

/** A wildcard in the first level matches no topic that begins with $. */
function hidesFrom(first: string | undefined, other: string | undefined): boolean {
  return (first === "+" || first === "#") && other !== undefined && other.startsWith("$");
}

function isTopicText(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0");
}
