/**
 * A device as the comparison driver sees it. The twin implements it (device.ts), and so does an adapter
 * around the core: the same seeded cases run over both.
 *
 * Every call returns an Outcome. Whatever the status, no call throws on bad bytes. After a refusal
 * (status 16 and up, HELD and GAP apart) the state is what it was before the call [N-3], except the failure
 * counters, the derivation credit and the beacon pause (B-4).
 *
 * Two statuses ask the caller to write a record and then call `confirm`:
 * STORE_MARK (protect, unprotect) and STORE_BLOB (saveBlob). Until then every call but confirm, tick,
 * snapshot and restart is BAD_ORDER and has no effect. `control` returns STORE_BLOB too, without a record: from
 * then on every call but saveBlob, confirm, tick, snapshot and restart is PENDING until a blob is
 * confirmed. BAD_ORDER comes before PENDING, NO_IDENTITY before both.
 */

import type { Bytes } from "./bytes.ts";

export interface Outcome {
  /** A number of SPEC section 14. */
  readonly status: number;
  /** unprotect, OK: the text of the message. Absent otherwise. */
  readonly text?: Bytes;
  /** unprotect, OK, MORE or GAP: position of the first frame of the payload. */
  readonly from?: { sender: number; generation: number; step: number; counter: number };
  /** protect, ack, hello, OK: MQTT payloads to publish, in order. One, or one for each part (narrow). */
  readonly payloads?: readonly Bytes[];
  /** STORE_MARK: 48 bytes. saveBlob with STORE_BLOB: the whole blob. */
  readonly record?: Bytes;
  /** the device wants to ask the server with a hello. */
  readonly asks?: boolean;
}

/** 0 storage, 1 boot nonce, 2 neither (C-17). */
export type DeviceClass = 0 | 1 | 2;

export interface DeviceOptions {
  readonly class: DeviceClass;
  /** Channel slots. */
  readonly channels: number;
  /** Sender rows of the whole device; rows of sender 0 are apart. */
  readonly senders: number;
  /** Bit mask: bit s for suite s. */
  readonly suites: number;
  /** T-1: 1 device build (4 kept leaves, late + ahead <= 3), 2 host build (15 kept leaves, <= 14). */
  readonly layout: 1 | 2;
  /** Largest frame, in bytes, a multiple of 8. */
  readonly frameMax: number;
}

export interface Identity {
  readonly realm: Bytes;
  readonly device: Bytes;
  /** K(0), 16 bytes. */
  readonly key: Bytes;
}

export interface DeviceModel {
  /**
   * Gives the device its identity and starts it with empty state: version 0, revision 0, no channels.
   * bootNonce: 8 bytes, used by class 1 only; class 0 and 2 report zeros. Status OK.
   */
  provision(identity: Identity, bootNonce: Bytes): Outcome;

  /**
   * A power cut and a new boot: everything not in the identity (realm, device, storage key; K(0) as
   * long as no blob is there) is lost, also a pending store. Class 0 loads the slots (T-6 to T-8); an
   * empty array, or one of 0xFF only, is a blank slot. Classes 1 and 2 ignore slots and marks.
   * OK; BAD_RECORD: both slots invalid and not blank; NO_ROOM: the marks name more readable rows
   * than the sender table has. After both the device is NO_IDENTITY until provisioned.
   */
  restart(slots: readonly [Bytes, Bytes], marks: readonly Bytes[], bootNonce: Bytes): Outcome;

  /**
   * Seals one message under the own number, or the will number. channel: 16 hex digits.
   * OK with payloads; STORE_MARK, then confirm gives the OK. Order of refusals: NO_CHANNEL, BAD_ARGUMENT
   * (will without a will number; topic over 1024 bytes of UTF-8; text of more than 64 frames),
   * SINGLE_ONLY, then P-2, HOLD, NO_GRANT.
   */
  protect(channel: string, text: Bytes, topic: string, will: boolean): Outcome;

  /**
   * Opens one MQTT payload. stored: it came with the RETAIN flag; the table of R-11 of last stored
   * values is not part of the model. Narrow channels: each payload is one frame; OK gives the whole
   * text when the last part of a message arrived, MORE says that a part was taken, GAP that the part
   * was authentic and is marked in the window, but its message misses a part and is dropped.
   * BAD_ARGUMENT after NO_CHANNEL: topic over 1024 bytes.
   * STORE_MARK, then confirm gives the result.
   */
  unprotect(channel: string, payload: Bytes, topic: string, stored: boolean): Outcome;

  /** B-3, B-4. */
  beacon(channel: string, payload: Bytes): Outcome;

  /**
   * One down payload. OK (applied with nothing to store, or an equal revision), STORE_BLOB, or a refusal of the
   * whole payload. Statuses of the single commands are in the next ack.
   */
  control(payload: Bytes, topic: string): Outcome;

  /** The ack frame of C-17; NO_SESSION on a device without storage before its session. */
  ack(topic: string): Outcome;

  /** The hello frame of C-18. want: 8 bytes, zeros for none. */
  hello(topic: string, want: Bytes): Outcome;

  /**
   * Class 0: STORE_BLOB with the blob of this sequence, to be written to one slot; OK after confirm, when
   * the sequence is held and marks count from 1 again. BAD_ARGUMENT: sequence not higher than the held one,
   * or over 2^32 - 1, or a device without storage.
   */
  saveBlob(sequence: number): Outcome;

  /**
   * The record asked for by the last outcome is stored (true) or could not be (false). true: the outcome
   * that was waiting. false: OK without text or payloads, and what was waiting has not happened; the
   * number of the mark is spent. Nothing waiting: BAD_ORDER.
   */
  confirm(stored: boolean): Outcome;

  /** The host's tick: one derivation credit, beacon pauses end. OK. */
  tick(): Outcome;

  /** A text that differs when any state but the counters of N-3 differs; "" where unsupported. */
  snapshot(): string;
}
