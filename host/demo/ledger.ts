// What was expected, and what came of it: the summary is computed from here and from the reports.

export interface Expectation {
  act: string;
  text: string;
  passed: boolean;
}

export class Ledger {
  readonly expectations: Expectation[] = [];
  #act = "";

  begin(act: string): void {
    this.#act = act;
  }

  expect(passed: boolean, text: string): boolean {
    this.expectations.push({ act: this.#act, text, passed });
    return passed;
  }

  get failed(): Expectation[] {
    return this.expectations.filter(({ passed }) => !passed);
  }
}

/** Counts of equal words, most frequent first: "24 replayed, 3 bad tag". */
export function tally(words: string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([word, count]) => `${count} ${plain(word)}`);
  return parts.length === 0 ? "none" : parts.join(", ");
}

/** A status as words. */
export function plain(status: string): string {
  return status.toLowerCase().replaceAll("_", " ");
}
