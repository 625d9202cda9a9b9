// Statuses of SPEC.md section 14. The numbers are part of the protocol: acks carry them.

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

const MEANING: Record<StatusName, string> = {
  OK: "done",
  MORE: "frame held provisionally, the payload goes on",
  STORE_MARK: "the mark record must be stored first",
  STORE_BLOB: "the blob must be stored first",
  BAD_TAG: "not sealed with this key for this topic, or changed on the way",
  BAD_LENGTH: "not the frame size of the channel",
  BAD_FORM: "not the form of the channel",
  NO_CHANNEL: "no key for this topic",
  UNKNOWN_EPOCH: "sealed under a generation that is not held",
  NO_LEASE: "no key for that step",
  REFLECTED: "own frame came back",
  NO_ROOM: "sender table full",
  REPLAYED: "accepted before",
  CLOSED: "from before this member's time, or too old to tell from a replay",
  BUSY: "too much junk: derivation credit used up",
  BAD_PADDING: "authentic, but not a message",
  BAD_PART: "frames do not make one payload",
  BAD_ORDER: "call out of order",
  NOT_YET: "before the first leased step",
  EXPIRED: "the lease has run out",
  EXHAUSTED: "counters used up until the server moves the step",
  NO_STORED_MODE: "the channel refuses retained messages",
  BAD_BEACON: "beacon not from the server",
  OLD_BEACON: "beacon does not move forward",
  FAR_BEACON: "beacon more than 256 steps ahead",
  OLD_REVISION: "lower revision than held",
  BAD_COMMAND: "unknown, malformed or impossible command",
  CHANNEL_FULL: "no free channel slot",
  LEASE_FULL: "no free node slot",
  HELD: "all nodes were held",
  OLD_GENERATION: "lower generation than held",
  BAD_CHANGE: "a parameter fixed for the generation differs",
  BAD_NODE: "node outside the lease or too large",
  BAD_RATCHET: "ratchet target is neither held nor next",
  BAD_SUITE: "suite not in this build, or not allowed without storage",
  NO_SESSION: "no session granted since boot",
  BAD_SESSION: "grant for another boot",
  NO_GRANT: "no counters granted in this epoch",
  BAD_RECORD: "stored state is missing or damaged; an identity and its state belong together",
  NO_IDENTITY: "not initialised",
  HOLD: "sealing waits after a lost write",
  PENDING: "changes wait to be stored first",
  BAD_ARGUMENT: "a parameter is out of range",
  SINGLE_ONLY: "a device without boot nonce sends single-frame messages only",
  GAP: "a part of a message is missing",
};

const NAMES = new Map<number, StatusName>(
  (Object.entries(STATUS) as [StatusName, number][]).map(([name, number]) => [number, name]),
);

/** Name of a status number; BAD_ARGUMENT for a number the protocol does not have. */
export function statusName(status: number): StatusName {
  return NAMES.get(status) ?? "BAD_ARGUMENT";
}

/** A refusal: nothing was released or changed. Carries the status, never key or text. */
export class RefusedError extends Error {
  readonly status: StatusName;
  readonly topic: string | undefined;

  constructor(status: StatusName, topic?: string) {
    const words = status.toLowerCase().replaceAll("_", " ");
    super(
      `refused (${words})${topic === undefined ? "" : ` on ${JSON.stringify(topic)}`}: ${MEANING[status]}`,
    );
    this.name = "RefusedError";
    this.status = status;
    this.topic = topic;
  }
}
