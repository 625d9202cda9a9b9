/** SPEC section 14. */
export const STATUS = {
  OK: 0,
  MORE: 1,
  STORE_MARK: 2,
  STORE_BLOB: 3,
  BAD_TAG: 16,
  BAD_LENGTH: 17,
  BAD_FORM: 18,
  NO_CHANNEL: 19,
  UNKNOWN_EPOCH: 20,
  NO_LEASE: 21,
  REFLECTED: 22,
  NO_ROOM: 23,
  REPLAYED: 24,
  CLOSED: 25,
  BUSY: 26,
  BAD_PADDING: 27,
  BAD_PART: 28,
  BAD_ORDER: 29,
  NOT_YET: 30,
  EXPIRED: 31,
  EXHAUSTED: 32,
  NO_STORED_MODE: 33,
  BAD_BEACON: 34,
  OLD_BEACON: 35,
  FAR_BEACON: 36,
  OLD_REVISION: 37,
  BAD_COMMAND: 38,
  CHANNEL_FULL: 39,
  LEASE_FULL: 40,
  HELD: 41,
  OLD_GENERATION: 42,
  BAD_CHANGE: 43,
  BAD_NODE: 44,
  BAD_RATCHET: 45,
  BAD_SUITE: 46,
  NO_SESSION: 47,
  BAD_SESSION: 48,
  NO_GRANT: 49,
  BAD_RECORD: 50,
  NO_IDENTITY: 51,
  HOLD: 52,
  PENDING: 53,
  BAD_ARGUMENT: 54,
  SINGLE_ONLY: 55,
  GAP: 56,
} as const;

export type StatusName = keyof typeof STATUS;

const NAMES = new Map<number, StatusName>(
  Object.entries(STATUS).map(([name, number]) => [number, name as StatusName]),
);

/** The name of a status number, or `STATUS_<number>` for one that section 14 does not have. */
export function statusName(status: number): string {
  return NAMES.get(status) ?? `STATUS_${status}`;
}
