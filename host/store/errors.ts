// What a store or a disk refuses by name. Neither error carries key bytes.

export type StoreErrorCode =
  | "NO_IDENTITY_FILE"
  | "BAD_IDENTITY"
  | "OTHER_DEVICE"
  | "UNKNOWN_FILE"
  | "OVERSIZE"
  | "BAD_MARK"
  | "FULL"
  | "CLOSED"
  | "POWER_CUT";

/** A store found, or was given, something it will not work with; what it holds is as before. */
export class StoreError extends Error {
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string) {
    super(message);
    this.name = "StoreError";
    this.code = code;
  }
}

/** Another holder has the exclusive lock of this path. */
export class LockedError extends Error {
  readonly path: string;

  constructor(path: string) {
    super(`${path} is in use by another process`);
    this.name = "LockedError";
    this.path = path;
  }
}
