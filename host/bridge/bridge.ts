// Between a device on a serial line and a broker: one device, one MQTT client, one session that the broker
// keeps. It has no keys, and passes on what it is given.

import { isFilter, isTopic } from "../client/filter.ts";
import type { Timer, World } from "../world.ts";
import {
  type FromDevice,
  format,
  type MessageToDevice,
  PACKET_MAX,
  parse,
  type ToDevice,
  VERSION,
} from "./packet.ts";
import { Decoder, encode } from "./slip.ts";

/** A serial line that is open. */
export interface Line {
  onBytes: (bytes: Uint8Array) => void;
  /** The line is gone; nothing follows. */
  onClose: () => void;
  write(bytes: Uint8Array): void;
  close(): void;
}

export interface RelayMessage {
  topic: string;
  payload: Uint8Array;
  qos: 0 | 1;
  retained: boolean;
}

/** An MQTT client that confirms a message when it is told to. */
export interface Relay {
  onConnect: (sessionPresent: boolean) => void;
  onClose: () => void;
  onError: (error: Error) => void;
  /**
   * The next message comes after `done`. Confirmed to the broker with `true`; else the broker gives it again to
   * the next connection.
   */
  onMessage: (message: RelayMessage, done: (isTaken: boolean) => void) => void;
  connect(): void;
  publish(topic: string, payload: Uint8Array, options: { qos: 0 | 1; retain: boolean }): Promise<void>;
  subscribe(filter: string, qos: 0 | 1): Promise<void>;
  end(): Promise<void>;
}

export type BridgeEvent =
  /** `refused` is what the broker or the way to it says. */
  | { kind: "device" | "online" | "log" | "error" | "refused"; detail: string }
  | { kind: "offline" }
  | { kind: "dropped"; topic: string; detail: string };

export interface BridgeOptions {
  world: World;
  /** A client of the broker with this id, not connected yet. */
  openRelay: (clientId: string) => Relay;
  /** In place of the id that the device gives. */
  clientId?: string;
  onEvent: (event: BridgeEvent) => void;
}

const REPEAT_MS = 2000;
const ID_MAX = 64;
/** Type, seq, flags, topicLen and CRC around topic and payload. */
const MESSAGE_FRAME = 8;

interface Waiting {
  packet: MessageToDevice;
  done: (isTaken: boolean) => void;
}

export class Bridge {
  readonly #options: BridgeOptions;
  #line: Line | null = null;
  #decoder = new Decoder(PACKET_MAX);
  #relay: Relay | null = null;
  #id: string | undefined;
  /** The broker has accepted the relay. */
  #isOnline = false;
  /** The device was told so. */
  #isOpened = false;
  #max = 0;
  /** Next number of a message, and the one the device has not taken yet. */
  #seq = 1;
  #waiting: Waiting | null = null;
  #repeat: Timer | null = null;
  /** The device's last question, and its answer once there is one. */
  #asked: { seq: number; answer: ToDevice | null } | null = null;
  /** Ended relays that have something on its way. */
  #ending: Promise<void> = Promise.resolve();

  constructor(options: BridgeOptions) {
    this.#options = options;
  }

  /** Goes on with a line; the one before, if any, is closed. */
  attach(line: Line): void {
    this.detach();
    this.#line = line;
    this.#decoder = new Decoder(PACKET_MAX);
    line.onBytes = (bytes) => {
      for (const packet of this.#decoder.decode(bytes)) {
        const parsed = parse(packet);
        if (parsed !== null && this.#line === line) this.#take(parsed);
      }
    };
    // A device that is up says `open` at once.
    this.#send({ type: "closed" });
  }

  /** Without a line there is no device: the broker keeps its messages. */
  detach(): void {
    this.#line?.close();
    this.#line = null;
    this.#endRelay();
  }

  /** Resolves when the broker knows. */
  async stop(): Promise<void> {
    this.detach();
    await this.#ending;
  }

  #take(packet: FromDevice): void {
    if (packet.type === "open") this.#open(packet.version, packet.max, packet.id);
    else if (packet.type === "log") this.#tell({ kind: "log", detail: packet.text });
    else if (!this.#isOpened) return;
    else if (packet.type === "taken") this.#taken(packet.seq);
    else if (packet.type === "publish" && packet.qos === 0) this.#publishOnce(packet.topic, packet);
    else if (packet.seq !== this.#asked?.seq) void this.#ask(packet);
    else if (this.#asked.answer !== null) this.#send(this.#asked.answer);
  }

  #open(version: number, max: number, given: string): void {
    const id = this.#options.clientId ?? given;
    if (version !== VERSION || id === "" || id.length > ID_MAX) {
      const what = version === VERSION ? "without a usable id" : `with version ${version} of the line`;
      this.#tell({ kind: "error", detail: `a device ${what}` });
      return;
    }
    this.#max = max;
    this.#isOpened = false;
    if (this.#relay === null || this.#id !== id) this.#startRelay(id);
    else if (this.#isOnline) this.#opened(true);
  }

  #startRelay(id: string): void {
    this.#endRelay();
    this.#tell({ kind: "device", detail: id });
    const relay = this.#options.openRelay(id);
    this.#id = id;
    this.#relay = relay;
    relay.onConnect = (isKept) => this.#relay === relay && this.#online(isKept);
    relay.onClose = () => this.#relay === relay && this.#offline();
    relay.onError = ({ message }) =>
      this.#relay === relay && this.#tell({ kind: "refused", detail: message });
    relay.onMessage = (message, done) => {
      if (this.#relay === relay) this.#pass(message, done);
      else done(false);
    };
    relay.connect();
  }

  #endRelay(): void {
    const relay = this.#relay;
    if (relay === null) return;
    const wasOnline = this.#isOnline;
    this.#relay = null;
    this.#isOnline = this.#isOpened = false;
    this.#asked = null;
    this.#drop();
    this.#ending = Promise.all([this.#ending, relay.end()]).then(() => {});
    if (wasOnline) this.#tell({ kind: "offline" });
  }

  #online(isKept: boolean): void {
    this.#isOnline = true;
    this.#tell({
      kind: "online",
      detail: isKept ? "the broker kept the session" : "a new session",
    });
    this.#opened(isKept);
  }

  #offline(): void {
    if (!this.#isOnline) return;
    this.#isOnline = this.#isOpened = false;
    this.#asked = null;
    this.#drop();
    this.#send({ type: "closed" });
    this.#tell({ kind: "offline" });
  }

  #opened(isKept: boolean): void {
    this.#isOpened = true;
    this.#asked = null;
    this.#seq = 1;
    this.#send({ type: "opened", isKept });
    const waiting = this.#waiting;
    if (waiting !== null) this.#sendMessage({ ...waiting.packet, seq: this.#nextSeq() }, waiting.done);
  }

  async #ask(packet: FromDevice & { type: "publish" | "subscribe" }): Promise<void> {
    const asked: { seq: number; answer: ToDevice | null } = { seq: packet.seq, answer: null };
    this.#asked = asked;
    const isRefused = await this.#done(this.#relay as Relay, packet).then(
      () => false,
      (error: Error) => {
        if (this.#asked === asked) this.#tell({ kind: "error", detail: error.message });
        return true;
      },
    );
    // What the broker did not take because it went away is asked again after the next `opened`.
    if (this.#asked !== asked || !this.#isOpened) return;
    asked.answer = { type: "done", seq: asked.seq, isRefused };
    this.#send(asked.answer);
  }

  #done(relay: Relay, packet: FromDevice & { type: "publish" | "subscribe" }): Promise<void> {
    if (packet.type === "subscribe") {
      if (isFilter(packet.filter)) return relay.subscribe(packet.filter, packet.qos);
      return Promise.reject(new Error("the device subscribes to what is no filter"));
    }
    if (isTopic(packet.topic)) return relay.publish(packet.topic, packet.payload, packet);
    return Promise.reject(new Error("the device publishes to what is no topic"));
  }

  #publishOnce(topic: string, packet: { payload: Uint8Array; retain: boolean }): void {
    if (!isTopic(topic)) return;
    this.#relay?.publish(topic, packet.payload, { qos: 0, retain: packet.retain }).catch(() => {});
  }

  /** One message at a time: the next one comes when this one is taken. */
  #pass(message: RelayMessage, done: (isTaken: boolean) => void): void {
    const length = MESSAGE_FRAME + Buffer.byteLength(message.topic) + message.payload.length;
    if (length > this.#max) {
      const detail = `${message.payload.length} bytes are more than the device takes`;
      this.#tell({ kind: "dropped", topic: message.topic, detail });
      done(true);
    } else if (message.qos === 1) {
      this.#sendMessage({ type: "message", seq: this.#nextSeq(), ...message }, done);
    } else {
      if (this.#isOpened) this.#send({ type: "message", seq: 0, ...message });
      done(true);
    }
  }

  #sendMessage(packet: MessageToDevice, done: (isTaken: boolean) => void): void {
    this.#stopRepeating();
    this.#waiting = { packet, done };
    if (!this.#isOpened) return;
    const send = (): void => {
      this.#send(packet);
      this.#repeat = this.#options.world.setTimer(REPEAT_MS, send);
    };
    send();
  }

  #taken(seq: number): void {
    if (this.#waiting === null || this.#waiting.packet.seq !== seq) return;
    const { done } = this.#waiting;
    this.#stopRepeating();
    this.#waiting = null;
    done(true);
  }

  /** The message that waits is the broker's again. */
  #drop(): void {
    const waiting = this.#waiting;
    this.#stopRepeating();
    this.#waiting = null;
    waiting?.done(false);
  }

  #stopRepeating(): void {
    if (this.#repeat !== null) this.#options.world.clearTimer(this.#repeat);
    this.#repeat = null;
  }

  #nextSeq(): number {
    const seq = this.#seq;
    this.#seq = seq === 0xffff ? 1 : seq + 1;
    return seq;
  }

  /** Devices, brokers and other clients may say anything; a terminal gets no control characters. */
  #tell(event: BridgeEvent): void {
    const clean = Object.entries(event).map(([name, text]) => [name, printable(text)]);
    this.#options.onEvent(Object.fromEntries(clean));
  }

  #send(packet: ToDevice): void {
    this.#line?.write(encode(format(packet)));
  }
}

function printable(text: string): string {
  return text.slice(0, 256).replaceAll(/\p{C}/gu, "?");
}
