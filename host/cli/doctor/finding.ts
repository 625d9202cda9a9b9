// What the doctor says: one line for each thing looked at.

export interface Finding {
  level: "ok" | "warn" | "fail";
  what: string;
  hint?: string;
}

export const ok = (what: string): Finding => ({ level: "ok", what });
export const warn = (what: string, hint: string): Finding => ({ level: "warn", what, hint });
export const fail = (what: string, hint: string): Finding => ({ level: "fail", what, hint });

/** Text of an error for a finding. */
export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || (error as NodeJS.ErrnoException).code || error.name;
}
