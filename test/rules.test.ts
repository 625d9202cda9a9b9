import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

const ROOT = dirname(import.meta.dirname);

// Rules that no test names yet.
const PENDING: readonly string[] = [];

// A definition in SPEC.md begins its line: "- **[F-2]** ...".
const DEFINITION = /^- \*\*\[([A-Z]-\d+)\]\*\*/gm;
// A title names its rules in brackets: "... [F-2]" or "... [W-1, W-2]".
const NAMED = /\[([A-Z]-\d+(?:, ?[A-Z]-\d+)*)\]/g;
const LITERAL = /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`/g;

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

function rulesIn(text: string): string[] {
  return [...text.matchAll(NAMED)].flatMap((match) => (match[1] ?? "").split(/, ?/));
}

/** Rule to the files whose test titles name it. Titles are strings in tests, and `title` fields of vectors. */
function namedRules(): Map<string, Set<string>> {
  const named = new Map<string, Set<string>>();
  const code = globSync(["test/**/*.test.ts", "assembly/__tests__/**/*.ts"], { cwd: ROOT });
  const vectors = globSync("test/vectors/*.json", { cwd: ROOT });
  for (const path of [...code, ...vectors]) {
    const literals = read(path).match(LITERAL) ?? [];
    for (const rule of literals.flatMap(rulesIn)) {
      named.set(rule, (named.get(rule) ?? new Set()).add(path));
    }
  }
  return named;
}

const RULES = [...read("SPEC.md").matchAll(DEFINITION)].map((match) => match[1] ?? "");

test("rules: SPEC.md defines each rule once, and the rules of a section without a gap", () => {
  assert.ok(RULES.length > 90);
  assert.deepEqual(
    RULES.filter((rule, i) => RULES.indexOf(rule) !== i),
    [],
  );
  const sections = Map.groupBy(RULES, (rule) => rule.charAt(0));
  for (const [section, rules] of sections) {
    assert.deepEqual(
      rules,
      rules.map((_, i) => `${section}-${i + 1}`),
    );
  }
});

test("rules: every rule of SPEC.md is named by a test, or pending", (context) => {
  const named = namedRules();
  const missing = RULES.filter((rule) => !named.has(rule));
  for (const rule of PENDING)
    context.diagnostic(`${rule}: ${missing.includes(rule) ? "pending" : "named now"}`);
  assert.deepEqual(
    missing.filter((rule) => !PENDING.includes(rule)),
    [],
  );
});

test("rules: no test names a rule that SPEC.md does not have", () => {
  const unknown = [...namedRules()].filter(([rule]) => !RULES.includes(rule));
  assert.deepEqual(
    unknown.map(([rule, paths]) => `${rule} in ${[...paths].join()}`),
    [],
  );
});

test("rules: SPEC.md refers to no rule that it does not have", () => {
  const text = read("SPEC.md").replaceAll(/`[^`]*`/g, "");
  const mentioned = [...text.matchAll(/\b([NSKBFPRWCVTI]-\d+)\b/g)].map((match) => match[1] ?? "");
  assert.deepEqual(
    mentioned.filter((rule) => !RULES.includes(rule)),
    [],
  );
});

test("rules: no source, and no other text, refers to a rule that SPEC.md does not have", () => {
  const folders = "{assembly,bench,examples,firmware,host,scripts,test}";
  const paths = globSync([`${folders}/**/*.{ts,js,c,h,py,md,ino}`, "*.md"], { cwd: ROOT });
  const mentions = paths.flatMap((path) =>
    [...read(path).matchAll(/(?<![\w-])[NSKBFPRWCVTI]-\d+\b/g)].map(([rule]) => ({ rule, path })),
  );
  assert.ok(mentions.length > 1000);
  assert.deepEqual(
    mentions.filter(({ rule }) => !RULES.includes(rule)).map(({ rule, path }) => `${rule} in ${path}`),
    [],
  );
});
