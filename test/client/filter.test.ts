import assert from "node:assert/strict";
import { test } from "node:test";
import { CANDIDATE_LEVELS, candidates, isFilter, isTopic, match } from "../../host/client/filter.ts";

const TABLE: [string, string, boolean][] = [
  ["a/b", "a/b", true],
  ["a/b", "a/c", false],
  ["a/b", "a/b/c", false],
  ["a/b/c", "a/b", false],
  ["a/+", "a/b", true],
  ["a/+", "a/", true],
  ["a/+", "a", false],
  ["a/+", "a/b/c", false],
  ["+/b", "a/b", true],
  ["+", "a", true],
  ["+", "/a", false],
  ["+/+", "/a", true],
  ["a/#", "a", true],
  ["a/#", "a/b/c", true],
  ["a/#", "ab", false],
  ["#", "a/b/c", true],
  ["#", "/", true],
  ["+/#", "a", true],
  ["a/+/#", "a", false],
  ["#/a", "x/a", false],
  ["#", "$SYS/broker", false],
  ["+/broker", "$SYS/broker", false],
  ["$SYS/#", "$SYS/broker", true],
  ["$SYS/+", "$SYS/broker", true],
  ["a/$b", "a/$b", true],
  ["a/+", "a/$b", true],
  ["A/b", "a/b", false],
];

test("filter: a table of MQTT's own rules", () => {
  for (const [filter, topic, expected] of TABLE) {
    assert.equal(match(filter, topic), expected, `${filter} and ${topic}`);
  }
});

test("filter: the candidates of a topic are exactly the filters that match it", () => {
  const parts = ["a", "b", "+", "#", "$x", ""];
  const filters = parts.flatMap((one) => [
    one,
    ...parts.flatMap((two) => [`${one}/${two}`, ...parts.map((three) => `${one}/${two}/${three}`)]),
  ]);
  for (const topic of ["a", "a/b", "$x/a", "a/$x", "/a", "a/b/a", ""]) {
    const found = new Set(candidates(topic));
    for (const filter of filters.filter(isFilter)) {
      assert.equal(found.has(filter), match(filter, topic), `${filter} and ${topic}`);
    }
  }
});

test("filter: candidates have no double, the exact topic is first, and their number is bounded", () => {
  const topic = Array.from({ length: CANDIDATE_LEVELS }, (_, level) => `l${level}`).join("/");
  const found = candidates(topic);
  assert.equal(found[0], topic);
  assert.equal(new Set(found).size, found.length);
  assert.equal(found.length, 3 * 2 ** CANDIDATE_LEVELS - 1);
});

test("filter: beyond ten levels only the topic itself and what ends in # are tried", () => {
  const topic = Array.from({ length: 40 }, (_, level) => `l${level}`).join("/");
  const found = candidates(topic);
  assert.equal(found.length, 42);
  assert.ok(found.every((filter) => match(filter, topic)));
});

test("filter: a topic of a message has no wildcard, no NUL, and 1 to 1024 bytes", () => {
  for (const good of ["a", "/", "a/b", "ü".repeat(512), "$SYS/x"]) assert.ok(isTopic(good), good);
  for (const bad of ["", "a/+", "#", "a\0", "ü".repeat(513), "\ud800"]) assert.ok(!isTopic(bad), bad);
});

test("filter: a wildcard fills its level, and # is the last one", () => {
  for (const good of ["#", "+", "a/+/b", "a/#", "+/#", "/"]) assert.ok(isFilter(good), good);
  for (const bad of ["", "a+", "a/#/b", "a#", "#/a", "a/b+/c", "a\0"]) assert.ok(!isFilter(bad), bad);
});
