// MQTT topic filters: which topics one matches, and which filters could match a topic.

/** Topics with more levels are not tried with every `+`: 2^levels candidates would be hashed. */
export const CANDIDATE_LEVELS = 10;
const TOPIC_MAX = 1024;

/**
 * MQTT 3.1.1, section 4.7: `+` is one level, a last `#` is any number of levels, none included.
 * A filter that begins with a wildcard does not match topics that begin with `$`.
 */
export function match(filter: string, topic: string): boolean {
  if (topic.startsWith("$") && (filter.startsWith("+") || filter.startsWith("#"))) return false;
  const levels = topic.split("/");
  const pattern = filter.split("/");
  for (const [index, part] of pattern.entries()) {
    if (part === "#") return index === pattern.length - 1;
    if (index >= levels.length) return false;
    if (part !== "+" && part !== levels[index]) return false;
  }
  return pattern.length === levels.length;
}

/** True for a topic a message can have: 1 to 1024 bytes of UTF-8 without wildcards or NUL. */
export function isTopic(topic: string): boolean {
  if (topic === "" || /[+#\0]/.test(topic) || !topic.isWellFormed()) return false;
  return topic.length <= TOPIC_MAX && new TextEncoder().encode(topic).length <= TOPIC_MAX;
}

/** True for a filter: `+` fills a level, `#` fills the last. */
export function isFilter(filter: string): boolean {
  if (filter === "" || filter.includes("\0") || !filter.isWellFormed()) return false;
  const levels = filter.split("/");
  return levels.every((level, index) => {
    if (level === "+") return true;
    if (level === "#") return index === levels.length - 1;
    return !/[+#]/.test(level);
  });
}

/**
 * Filters that match the topic, those with fewest wildcards first. With n levels, CANDIDATE_LEVELS at
 * most, these are all 3 x 2^n - 1 of them (fewer for topics with `$`); beyond that those without `+`.
 */
export function candidates(topic: string): string[] {
  const levels = topic.split("/");
  const plus = levels.length <= CANDIDATE_LEVELS;
  let prefixes: string[][] = [[]];
  const found: string[][] = [];
  for (const [index, level] of levels.entries()) {
    const wild = !(index === 0 && level.startsWith("$"));
    if (wild) found.push(...prefixes.map((prefix) => [...prefix, "#"]));
    prefixes = prefixes.flatMap((prefix) => [
      [...prefix, level],
      ...(wild && plus ? [[...prefix, "+"]] : []),
    ]);
  }
  for (const prefix of prefixes) found.push(prefix, [...prefix, "#"]);
  return found.sort((a, b) => wildcards(a) - wildcards(b)).map((filter) => filter.join("/"));
}

function wildcards(filter: string[]): number {
  return filter.filter((part) => part === "+" || part === "#").length;
}
