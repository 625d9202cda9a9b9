// How a command ends when it does not succeed: one line of what, one of what to do, one exit code.

import { type ServerCode, ServerError } from "../keyserver/errors.ts";
import { RefusedError, type StatusName } from "../status.ts";
import { LockedError, StoreError } from "../store/errors.ts";
import { Wasm3Error } from "../wasm3/index.ts";

/** Exit codes of every command. */
export const EXIT = { done: 0, usage: 1, io: 2, refused: 3 } as const;
export type Exit = (typeof EXIT)[keyof typeof EXIT];

/** An error a person can act on. `message` and `hint` never carry key or text. */
export class CliError extends Error {
  readonly exit: Exit;
  readonly hint: string | undefined;

  constructor(exit: Exit, message: string, hint?: string) {
    super(message);
    this.name = "CliError";
    this.exit = exit;
    this.hint = hint;
  }
}

export const usage = (message: string, hint?: string): CliError => new CliError(EXIT.usage, message, hint);
export const io = (message: string, hint?: string): CliError => new CliError(EXIT.io, message, hint);
export const refused = (message: string, hint?: string): CliError =>
  new CliError(EXIT.refused, message, hint);

/** Ends a command that has said already why it did not succeed. */
export const ended = (exit: Exit): CliError => new CliError(exit, "");

export const STATUS_HINTS: Partial<Record<StatusName, string>> = {
  NO_CHANNEL: "grant it with `ampoule channel grant <filter> <device>`, and check that `ampoule serve` runs",
  NO_LEASE: "the lease does not cover this step; renew it with `ampoule channel grant <filter> <device>`",
  EXPIRED: "renew the lease with `ampoule channel grant <filter> <device>`",
  UNKNOWN_EPOCH: "this member has no key of that generation; see `ampoule status`",
  BAD_RECORD:
    "bring the state directory back as it was last; if it is lost, provision the device again under a new name",
  BAD_LENGTH: "a message has at most 64 frames; create the channel with a larger --frame-size",
  NO_STORED_MODE: "create the channel without --no-stored to keep retained messages in it",
  EXHAUSTED: "move the channel with `ampoule channel step <filter>`",
};

const SERVER_EXITS: Partial<Record<ServerCode, Exit>> = {
  NOT_OURS: EXIT.io,
  TOO_NEW: EXIT.io,
  BAD_KEY_FILE: EXIT.io,
  DAMAGED: EXIT.io,
  SERVING: EXIT.io,
  WRONG_KEY: EXIT.refused,
};

const SERVER_HINTS: Partial<Record<ServerCode, string>> = {
  WRONG_KEY: "it is mistyped, or belongs to another realm",
  NO_DEVICE: "see `ampoule device list`",
  NO_CHANNEL: "see `ampoule channel list`",
  NAME_TAKEN: "see `ampoule device list`, or remove it first with `ampoule device remove`",
  FILTER_OVERLAP: "two channels may not match the same topic; see `ampoule channel list`",
  NOT_MEMBER: "see `ampoule channel show`",
  SERVING: "another process serves this realm",
};

const FILE_ERRORS: Record<string, string> = {
  ENOENT: "no such file or directory",
  EACCES: "permission denied",
  EPERM: "permission denied",
  ENOSPC: "the disk is full",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of the path is not a directory",
  EROFS: "the file system is read-only",
  EEXIST: "something else is there",
};

/** Turns whatever was thrown into the error a person sees. */
export function explain(error: unknown): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof RefusedError) {
    return new CliError(EXIT.refused, error.message, STATUS_HINTS[error.status]);
  }
  if (error instanceof ServerError) {
    return new CliError(SERVER_EXITS[error.code] ?? EXIT.usage, error.message, SERVER_HINTS[error.code]);
  }
  if (error instanceof Wasm3Error) return io(`no wasm3 (${error.code}): ${error.message}`, error.hint);
  if (!(error instanceof Error)) return io(String(error));
  if (error instanceof StoreError && error.code === "OTHER_DEVICE") {
    return refused(
      error.message,
      "an identity is for one device; make another with `ampoule provision <name>`",
    );
  }
  if (error instanceof LockedError) {
    return io(error.message, "another process uses this state; give each process an identity of its own");
  }
  const { code = error.name, path } = error as NodeJS.ErrnoException;
  const why = FILE_ERRORS[code];
  if (why !== undefined && path !== undefined) return io(`${path}: ${why}`);
  return io(error.message === "" ? code : error.message);
}
