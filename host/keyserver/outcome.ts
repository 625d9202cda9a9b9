// What a transaction leads to once it is committed: nothing is published or told before.

export type EventKind =
  | "connected"
  | "disconnected"
  | "error"
  | "ignored"
  | "hello"
  | "ack"
  | "sent"
  | "session"
  | "settled"
  | "refused"
  | "diverged"
  | "insync"
  | "alarm"
  | "step"
  | "generation"
  | "beacon";

/** Something that happened. Never carries a key. */
export interface ServerEvent {
  kind: EventKind;
  /** Name of the device. */
  device?: string;
  /** Filter of the channel. */
  channel?: string;
  detail?: string;
}

export interface Publication {
  topic: string;
  payload: Uint8Array;
  retain: boolean;
  /** Id of the device a control payload is for. */
  device?: string;
  /** One that was sent before is not sent again within a second. */
  revision?: string;
  /** What to tell of it, if it is sent. */
  event?: ServerEvent;
}

export class Outcome {
  readonly events: ServerEvent[] = [];
  readonly publications: Publication[] = [];
  /** Keys were erased: the write-ahead log is to be cut. */
  erased = false;

  tell(kind: EventKind, about: Omit<ServerEvent, "kind"> = {}): ServerEvent {
    const event = { kind, ...about };
    this.events.push(event);
    return event;
  }
}
