// Refusals of the key server. Their texts name devices, filters and reasons, never keys.

export type ServerCode =
  | "EXISTS"
  | "NO_REALM"
  | "NOT_OURS"
  | "TOO_NEW"
  | "WRONG_KEY"
  | "BAD_KEY_FILE"
  | "BAD_PASSPHRASE"
  | "DAMAGED"
  | "BAD_PREFIX"
  | "BAD_NAME"
  | "NAME_TAKEN"
  | "NO_DEVICE"
  | "BAD_FILTER"
  | "FILTER_OVERLAP"
  | "NO_CHANNEL"
  | "BAD_PARAMS"
  | "BAD_LEASE"
  | "NOT_MEMBER"
  | "CHANNEL_FULL"
  | "SERVING"
  | "CLOSED";

/** The key server refused: nothing was changed. */
export class ServerError extends Error {
  readonly code: ServerCode;

  constructor(code: ServerCode, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "ServerError";
    this.code = code;
  }
}
