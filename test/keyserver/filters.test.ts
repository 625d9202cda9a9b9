import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerError } from "../../host/keyserver/errors.ts";
import { checkFilter, checkPrefix, overlap, reservedFilters } from "../../host/keyserver/filters.ts";

const OVERLAPPING: [string, string][] = [
  ["a", "a"],
  ["a/b", "a/+"],
  ["a/b", "+/b"],
  ["+/b", "a/+"],
  ["a/+/c", "+/b/+"],
  ["a", "a/#"],
  ["a/b/c", "a/#"],
  ["#", "a/b"],
  ["#", "+"],
  ["a/#", "a/b/#"],
  ["+/#", "a"],
  ["/", "+/+"],
  ["a//c", "a/+/c"],
  ["$sys/a", "$sys/+"],
  ["$sys/#", "$sys/a/b"],
  ["/#", "/+"],
  ["é/+", "+/x"],
];

const APART: [string, string][] = [
  ["a", "b"],
  ["a", "a/b"],
  ["a", "A"],
  ["a/", "a"],
  ["a/+", "a"],
  ["a/+", "a/b/c"],
  ["a/+/c", "a/+/d"],
  ["a/#", "b/#"],
  ["a/b/#", "a/c/#"],
  ["+", "a/b"],
  ["#", "$sys/a"],
  ["+/a", "$sys/a"],
  ["+/#", "$sys"],
  ["/a", "a"],
];

test("filters: finds every pair that can match the same topic, and no other [V-1]", () => {
  for (const [a, b] of OVERLAPPING) assert.ok(overlap(a, b) && overlap(b, a), `${a} and ${b}`);
  for (const [a, b] of APART) assert.ok(!overlap(a, b) && !overlap(b, a), `${a} and ${b}`);
});

test("filters: overlap agrees with trying all short topics [V-1]", () => {
  const levels = ["a", "b", "", "+", "#"];
  const filters = sequences(levels, 3).filter(isFilter);
  const topics = sequences(["a", "b", "", "x"], 5).filter((topic) => topic !== "");
  const matching = new Map(
    filters.map((filter) => [filter, topics.filter((topic) => matches(filter, topic))]),
  );
  for (const a of filters) {
    const ofA = new Set(matching.get(a));
    for (const b of filters) {
      const shared = (matching.get(b) ?? []).some((topic) => ofA.has(topic));
      assert.equal(overlap(a, b), shared, `${a} and ${b}`);
    }
  }
});

test("filters: refuses by name what MQTT does not allow", () => {
  const bad = ["", "a/b#", "a/#/b", "a+/b", "#/a", "a\0b", "x".repeat(1025), "$share/g/t", "\ud800"];
  for (const filter of bad)
    assert.throws(() => checkFilter(filter), isBad("BAD_FILTER"), JSON.stringify(filter));
  for (const filter of ["a", "+", "#", "a/+/#", "/", "a//b", "x".repeat(1024)]) checkFilter(filter);
});

test("filters: refuses a prefix that cannot begin a topic", () => {
  for (const prefix of ["", "a/+", "#", "$sys", "a\0", "x".repeat(257)]) {
    assert.throws(() => checkPrefix(prefix), isBad("BAD_PREFIX"), JSON.stringify(prefix));
  }
  for (const prefix of ["ampoule", "site/7", "x".repeat(256)]) checkPrefix(prefix);
});

test("filters: control and epoch topics of a realm are reserved [V-1]", () => {
  const topics = ["p/0011223344556677/down", "p/0011223344556677/up", "p/epoch/0011223344556677"];
  for (const topic of topics)
    assert.ok(
      reservedFilters("p").some((filter) => matches(filter, topic)),
      topic,
    );
  assert.ok(!reservedFilters("p").some((filter) => matches(filter, "p/other/topic")));
});

function isBad(code: string): (error: unknown) => boolean {
  return (error) => error instanceof ServerError && error.code === code;
}

function sequences(parts: string[], length: number): string[] {
  let found = parts;
  const all = [...parts];
  for (let i = 1; i < length; i++) {
    found = found.flatMap((head) => parts.map((part) => `${head}/${part}`));
    all.push(...found);
  }
  return all;
}

function isFilter(filter: string): boolean {
  try {
    checkFilter(filter);
    return true;
  } catch {
    return false;
  }
}

/** MQTT 3.1.1, section 4.7, for one topic. */
function matches(filter: string, topic: string): boolean {
  const [f, t] = [filter.split("/"), topic.split("/")];
  if (topic.startsWith("$") && /^[+#]/.test(filter)) return false;
  for (const [i, level] of f.entries()) {
    if (level === "#") return t.length >= i;
    if (i >= t.length || (level !== "+" && level !== t[i])) return false;
  }
  return f.length === t.length;
}
