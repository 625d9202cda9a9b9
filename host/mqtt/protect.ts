// An MQTT.js client that seals and opens by itself. The application keeps its code: the same methods
// and events, with text where the network has frames.

import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import mqtt, {
  type IClientOptions,
  type IClientPublishOptions,
  type IPublishPacket,
  type MqttClient,
} from "mqtt";
import { Client, type Message, type Received } from "../client/client.ts";
import { nodeWorld } from "../node-world.ts";
import { RefusedError, type StatusName } from "../status.ts";
import { DirectoryStore } from "../store/directory.ts";
import { facade } from "./facade.ts";
import { type Held, Hold, isVerdict } from "./hold.ts";
import { Retained } from "./retained.ts";
import { Session } from "./session.ts";
import { Will } from "./will.ts";

export interface ProtectOptions {
  /** A persistent session counts as drained when nothing of QoS 1 or 2 came for so long; default 250 ms. */
  quietMs?: number;
  /** Longest wait for that before control topics are subscribed and hello is said; default 5 s. */
  drainMs?: number;
  /** Between two ticks of the core; default 4 s. */
  tickMs?: number;
  /** Payloads kept whose keys may be on their way, 0 for none; default 32. */
  holdCount?: number;
  /** How long they are kept; default 15 s. */
  holdMs?: number;
  /** Topics whose last retained text is sealed again when its epoch is over, 0 for none; default 256. */
  resealTopics?: number;
  /** Longest delay before the connection is made anew for a fresh will, so that a fleet does not do it at
   *  once; default 1 s. */
  willSpreadMs?: number;
}

/** How a text was sealed; `stored` is set for retained messages: state, not an event. */
export type Mark = Omit<Message, "topic" | "text">;

/** A packet with its text in place of the frames; without a mark for topics configured as clear. */
export interface ProtectedPacket extends IPublishPacket {
  ampoule?: Mark;
}

export interface Refusal {
  status: StatusName;
  topic: string;
  /** The packet that was refused; absent for one that was to be published. */
  packet?: IPublishPacket;
}

/** Events beside, or in place of, those of MQTT.js. */
export interface ProtectedEvents {
  message: (topic: string, payload: Buffer, packet: ProtectedPacket) => void;
  /** Something was not released, not published, or lost. */
  refused: (refusal: Refusal) => void;
  /** Keys, epochs or channels changed. */
  keys: () => void;
  /** The retained value of a topic was deleted. */
  cleared: (topic: string) => void;
}

type Listen = <E extends keyof ProtectedEvents>(event: E, listener: ProtectedEvents[E]) => ProtectedClient;

interface Additions {
  on: Listen;
  once: Listen;
  off: Listen;
  addListener: Listen;
  removeListener: Listen;
  prependListener: Listen;
  prependOnceListener: Listen;
  /** The client underneath: what it publishes is not sealed, what it emits is not opened. */
  readonly raw: MqttClient;
  readonly ampoule: Client;
}

export type ProtectedClient = Additions & MqttClient;

export interface AmpouleOptions extends ProtectOptions {
  /** A client made before; or `identity`. */
  client?: Client;
  /** Path of an identity file. Its state is locked until the connection ends. */
  identity?: string;
  /** Directory of the state; default is the identity's path and ".state". */
  state?: string;
  /** Filters of channels known beforehand; others are found from the topic. */
  channels?: string[];
  /** Filters deliberately not sealed. */
  clear?: string[];
}

export type ConnectOptions = IClientOptions & { ampoule: AmpouleOptions };

/**
 * Connects as `mqtt.connect` does. Attach handlers before anything else is awaited: with a session
 * the broker delivers at once.
 *
 * Throws LockedError, StoreError or RefusedError when the identity or its state cannot be used.
 */
export function connect(url: string, options: ConnectOptions): ProtectedClient {
  const { ampoule, ...plain } = options;
  const { client, release } = openClient(ampoule);
  try {
    const shim = protect(mqtt.connect(url, { ...plain, manualConnect: true }), client, ampoule);
    shim.raw.on("end", release);
    if (options.manualConnect !== true) shim.connect();
    return shim;
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Wraps a client that has not connected yet: `protect(mqtt.connect(url, {manualConnect: true}), client)`.
 * Attach handlers to the result, then call its `connect()`.
 *
 * A text without a key is never published: the callback gets a RefusedError, and "refused" is emitted.
 * Payloads that are refused are acknowledged: the broker would send them for ever, and a reason code
 * would tell it what this member can open. Payloads whose acceptance could not be stored are not.
 */
export function protect(inner: MqttClient, client: Client, options: ProtectOptions = {}): ProtectedClient {
  if (inner.stream !== undefined) {
    throw new Error("the MQTT client has connected already: make it with manualConnect: true");
  }
  return new Shim(inner, client, options).facade;
}

function openClient(options: AmpouleOptions): { client: Client; release: () => void } {
  const { client, identity, state, channels, clear } = options;
  if (client !== undefined) return { client, release: () => {} };
  if (identity === undefined) throw new TypeError("options.ampoule has neither client nor identity");
  const world = nodeWorld();
  const store = new DirectoryStore(world, identity, state);
  try {
    const opened = new Client({ store, world, ...(channels && { channels }), ...(clear && { clear }) });
    return {
      client: opened,
      release: () => {
        opened.close();
        store.close();
      },
    };
  } catch (error) {
    store.close();
    throw error;
  }
}

/** Keys of a channel that is held; or derivation credit, which each tick brings. */
const MAY_COME: ReadonlySet<StatusName> = new Set(["UNKNOWN_EPOCH", "NO_LEASE", "BUSY"]);
const FORWARDED = [
  "connect",
  "packetsend",
  "packetreceive",
  "disconnect",
  "error",
  "close",
  "end",
  "reconnect",
  "offline",
  "outgoingEmpty",
] as const;
const PUBACK = 0x40;
const PUBCOMP = 0x70;
/** How long a broker may take to close a connection it was asked to. */
const CLOSE_MS = 2000;

type Callback = (error?: Error, packet?: unknown) => void;
type HandleMessage = MqttClient["handleMessage"];

class Shim {
  readonly facade: ProtectedClient;
  readonly #inner: MqttClient;
  readonly #client: Client;
  readonly #session: Session;
  readonly #hold: Hold;
  readonly #retained: Retained;
  readonly #will: Will;
  readonly #willSpreadMs: number;
  /** Packets whose acknowledgement is held back. */
  readonly #withheld = new WeakSet<object>();
  /** What the application's handleMessage gets in place of a packet. */
  readonly #opened = new WeakMap<object, ProtectedPacket>();
  #handleMessage: HandleMessage;
  #handleAcks: IClientOptions["customHandleAcks"];
  #keysChanged = false;
  /** Held payloads are to be tried again: a listener threw before the last one. */
  #isRetryCut = false;
  #receiving = false;
  #renewing = false;

  constructor(inner: MqttClient, client: Client, options: ProtectOptions) {
    const { quietMs = 250, drainMs = 5000, tickMs = 4000 } = options;
    this.#inner = inner;
    this.#client = client;
    this.#willSpreadMs = options.willSpreadMs ?? 1000;
    const onError = (error: Error): void => this.#failed(error);
    const onTick = (): void => this.#retryAtTick();
    this.#session = new Session(inner, client, { quietMs, drainMs, tickMs, onError, onTick });
    this.#hold = new Hold(client.world, options.holdCount ?? 32, options.holdMs ?? 15_000, (held) =>
      this.#giveUp(held),
    );
    this.#retained = new Retained(options.resealTopics ?? 256);
    this.facade = this.#makeFacade();
    this.#will = new Will(inner, client, (error, topic) => this.#notPublished(topic, error));
    this.#handleMessage = inner.handleMessage.bind(inner);
    this.#attach();
  }

  #makeFacade(): ProtectedClient {
    const emitter = new EventEmitter();
    // As MQTT.js itself does: an "error" nobody listens to must not end the process.
    emitter.on("error", () => {});
    return facade(this.#inner, emitter, {
      raw: this.#inner,
      ampoule: this.#client,
      publish: this.#publish,
      publishAsync: this.#publishAsync,
      setHandleMessage: (handler: HandleMessage) => {
        this.#handleMessage = handler;
      },
    }) as ProtectedClient;
  }

  #attach(): void {
    const inner = this.#inner;
    const connect = inner.connect.bind(inner);
    inner.connect = () => {
      this.#prepareOptions();
      return connect();
    };
    inner.end = endAlways(inner);
    inner.handleMessage = (packet, done) => this.#acknowledge(packet, done);
    // Before MQTT.js sends what the application queued: beacons are to come before retained values.
    inner.prependListener("connect", ({ sessionPresent }) => this.#connected(sessionPresent));
    inner.on("packetreceive", (packet) => {
      if (packet.cmd === "publish" && packet.qos > 0) this.#session.arrived();
    });
    inner.on("message", (topic, payload, packet) => this.#arrived(topic, payload, packet));
    inner.on("close", () => this.#session.disconnected());
    inner.on("end", () => this.#hold.close());
    for (const event of FORWARDED) inner.on(event, (...values: unknown[]) => this.#emit(event, ...values));
    const { onKeys, onLoss } = this.#client;
    this.#client.onKeys = () => {
      onKeys();
      this.#keysChanged = true;
      if (!this.#receiving) this.#settle();
    };
    this.#client.onLoss = (error) => {
      onLoss(error);
      this.#emit("refused", { status: error.status, topic: error.topic ?? "" });
    };
  }

  /** Before each CONNECT: the application may have replaced the options since the last one. */
  #prepareOptions(): void {
    const { options } = this.#inner;
    // Its work is done; left on, it makes MQTT.js reconnect after an end() that came before the CONNACK.
    options.manualConnect = false;
    if (options.customHandleAcks !== this.#handleAcks) resolveAliases(options);
    this.#handleAcks = options.customHandleAcks;
    this.#will.place();
  }

  #connected(sessionPresent: boolean): void {
    this.#renewing = false;
    this.#hold.reconnected(sessionPresent);
    this.#session.connected(sessionPresent);
    this.#renewWill();
  }

  // Receiving

  #arrived(topic: string, payload: Buffer, packet: IPublishPacket): void {
    const result = this.#receive(topic, payload, packet.retain);
    try {
      if (!(result instanceof Error)) this.#deliver(result, packet);
      else if (!isVerdict(result)) this.#withhold(topic, payload, packet, result);
      else if (this.#mayOpenLater(result, packet)) this.#keep(topic, payload, packet, result);
      else this.#refused(result, topic, packet);
    } finally {
      this.#settle();
    }
  }

  #receive(topic: string, payload: Buffer, retained: boolean): Received | Error {
    this.#receiving = true;
    try {
      return this.#client.receive(topic, payload, { retained });
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    } finally {
      this.#receiving = false;
    }
  }

  #deliver(received: Received, packet: IPublishPacket): void {
    switch (received.kind) {
      case "text": {
        const { kind: _, topic, text, ...mark } = received;
        const payload = toBuffer(text);
        const opened: ProtectedPacket = { ...packet, topic, payload, ampoule: mark };
        this.#opened.set(packet, opened);
        this.#retained.forget(topic);
        this.#emit("message", topic, payload, opened);
        return;
      }
      case "clear": {
        const { topic, payload } = received;
        this.#opened.set(packet, packet);
        this.#emit("message", topic, toBuffer(payload), packet);
        return;
      }
      case "cleared":
        this.#retained.forget(received.topic);
        this.#emit("cleared", received.topic);
        return;
      case "control":
        if (received.replies.length > 0) this.#session.answered();
        for (const reply of received.replies) this.#session.send(reply);
        return;
      case "partial":
        return;
    }
  }

  #keep(topic: string, payload: Buffer, packet: IPublishPacket, error: RefusedError): void {
    const unacknowledged = packet.qos > 0 && this.#hold.mayWithhold();
    if (unacknowledged) this.#withheld.add(packet);
    this.#hold.add({ topic, payload, packet, error, unacknowledged });
  }

  /**
   * Keys may be on their way. For a channel they may when the value is retained, which comes once and
   * often before the grant does, or when the device has no channel at all: then it is new.
   */
  #mayOpenLater({ status }: RefusedError, { retain }: IPublishPacket): boolean {
    if (status !== "NO_CHANNEL") return MAY_COME.has(status);
    return retain || this.#client.device.channels().length === 0;
  }

  /**
   * The acceptance could not be stored: nothing is acknowledged. The payload is tried again at each
   * tick, and one too many at the next connection, when the broker sends it again.
   */
  #withhold(topic: string, payload: Buffer, packet: IPublishPacket, error: Error): void {
    this.#withheld.add(packet);
    if (this.#hold.mayWithhold()) {
      this.#hold.add({ topic, payload, packet, error, unacknowledged: packet.qos > 0 });
    }
    this.#failed(error);
  }

  #retryAtTick(): void {
    try {
      if (this.#hold.waitsForTick()) this.#retryHeld();
    } finally {
      this.#settle();
    }
  }

  /** Runs after "message" was emitted for the packet; MQTT.js acknowledges when `done` has no error. */
  #acknowledge(packet: IPublishPacket, done: (error?: Error) => void): void {
    const opened = this.#opened.get(packet);
    if (this.#withheld.has(packet)) done(new Error("the acknowledgement is held back"));
    else if (opened !== undefined) this.#handleMessage(opened, done);
    else done();
  }

  /** Null when the payload is delivered or refused for good. */
  #retry(held: Held): Error | null {
    const { topic, payload, packet } = held;
    const result = this.#receive(topic, payload, packet.retain);
    if (!(result instanceof Error)) this.#deliver(result, packet);
    else if (!isVerdict(result) || this.#mayOpenLater(result, packet)) return result;
    else this.#refused(result, topic, packet);
    this.#payAck(held);
    return null;
  }

  /** What could not be stored stays unacknowledged: the broker is to send it again. */
  #giveUp(held: Held): void {
    if (!isVerdict(held.error)) return;
    this.#refused(held.error, held.topic, held.packet);
    this.#payAck(held);
  }

  /** PUBACK or PUBCOMP without reason code, the same four bytes in every version of MQTT. */
  #payAck({ unacknowledged, packet }: Held): void {
    const { messageId } = packet;
    if (!unacknowledged || messageId === undefined || !this.#inner.connected) return;
    const type = packet.qos === 2 ? PUBCOMP : PUBACK;
    this.#inner.stream.write(Buffer.from([type, 2, messageId >> 8, messageId & 0xff]));
  }

  #refused(error: RefusedError, topic: string, packet: IPublishPacket): void {
    this.#emit("refused", { status: error.status, topic, packet });
  }

  /** What follows from a payload, once its replies are on their way; a listener may throw anywhere in it. */
  #settle(): void {
    try {
      if (this.#keysChanged) this.#followKeys();
      else if (this.#isRetryCut) this.#retryHeld();
    } finally {
      this.#session.answerWants();
    }
  }

  #followKeys(): void {
    this.#keysChanged = false;
    this.#session.keysChanged();
    try {
      this.#retryHeld();
    } finally {
      this.#reseal();
      this.#renewWill();
      this.#emit("keys");
    }
  }

  /** A listener that throws ends the round; the next payload or tick goes on with it. */
  #retryHeld(): void {
    this.#isRetryCut = false;
    try {
      this.#hold.retry((held) => this.#retry(held));
    } catch (error) {
      this.#isRetryCut = true;
      throw error;
    }
  }

  // Publishing

  readonly #publish = (
    topic: string,
    message: string | Buffer,
    options?: IClientPublishOptions | Callback,
    callback?: Callback,
  ): ProtectedClient => {
    const done = typeof options === "function" ? options : callback;
    const settings = typeof options === "function" || options === undefined ? {} : options;
    try {
      this.#send(topic, message, settings, done);
    } catch (error) {
      this.#notPublished(topic, error);
      queueMicrotask(() => done?.(error as Error));
    }
    return this.facade;
  };

  readonly #publishAsync = (
    topic: string,
    message: string | Buffer,
    options?: IClientPublishOptions,
  ): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const done: Callback = (error, packet) => {
        if (error === undefined || error === null) resolve(packet);
        else reject(error);
      };
      this.#publish(topic, message, options ?? {}, done);
    });

  #send(topic: string, message: string | Buffer, options: IClientPublishOptions, done?: Callback): void {
    const retain = options.retain === true;
    if (this.#client.isClear(topic) || (retain && message.length === 0)) {
      this.#retained.forget(topic);
      this.#inner.publish(topic, message, options, done);
      return;
    }
    const text = typeof message === "string" ? Buffer.from(message) : message;
    const channel = this.#client.channelFor(topic);
    if (retain && channel?.storedAllowed === false) throw new RefusedError("NO_STORED_MODE", topic);
    const payloads = this.#client.protect(topic, text);
    // The broker keeps one payload for a topic: of several it would keep the last part.
    if (retain && payloads.length > 1) throw new RefusedError("BAD_LENGTH", topic);
    if (retain && channel !== undefined) this.#retained.remember(topic, channel, { text, options });
    this.#sendAll(topic, payloads, withoutFormat(options), done);
  }

  /** Calls back once: with the first error, or after the last payload. */
  #sendAll(topic: string, payloads: Uint8Array[], options: IClientPublishOptions, done?: Callback): void {
    let left = payloads.length;
    let failure: Error | undefined;
    const one: Callback = (error, packet) => {
      failure ??= error ?? undefined;
      left -= 1;
      if (left === 0) done?.(failure, packet);
    };
    for (const payload of payloads) this.#inner.publish(topic, toBuffer(payload), options, one);
  }

  #reseal(): void {
    for (const [topic, { text, options }] of this.#retained.aged((topic) => this.#client.channelFor(topic))) {
      const { cbStorePut: _, ...rest } = options;
      this.#publish(topic, toBuffer(text), rest);
    }
  }

  // Last Will

  /** Leaves the broker in good order, so that the old will is dropped, and connects with a fresh one. */
  #renewWill(): void {
    if (this.#renewing || !this.#inner.connected || !this.#will.isDue()) return;
    this.#renewing = true;
    const world = this.#client.world;
    const [random = 0] = world.random(1);
    const { stream } = this.#inner;
    world.setTimer((this.#willSpreadMs * random) / 256, () => {
      if (this.#inner.stream !== stream || !this.#inner.connected || this.#inner.disconnecting) return;
      this.#reconnect();
    });
  }

  #reconnect(): void {
    const inner = this.#inner;
    const { stream } = inner;
    inner.once("close", () => {
      queueMicrotask(() => {
        if (!inner.disconnecting && !inner.disconnected && inner.stream === stream) inner.connect();
      });
    });
    // From here on MQTT.js queues what is published.
    inner.connected = false;
    stream.end(Buffer.from([0xe0, 0]));
    this.#client.world.setTimer(CLOSE_MS, () => {
      if (inner.stream === stream) stream.destroy();
    });
  }

  // Reporting

  #notPublished(topic: string, error: unknown): void {
    if (error instanceof RefusedError) this.#emit("refused", { status: error.status, topic });
    else this.#failed(error instanceof Error ? error : new Error(String(error)));
    this.#session.answerWants();
  }

  #failed(error: Error): void {
    this.#emit("error", error);
  }

  #emit(event: string, ...values: unknown[]): void {
    (this.facade as unknown as EventEmitter).emit(event, ...values);
  }
}

/** A frame is not UTF-8, and brokers may check. */
function withoutFormat(options: IClientPublishOptions): IClientPublishOptions {
  if (options.properties?.payloadFormatIndicator === undefined) return options;
  const { payloadFormatIndicator: _, ...properties } = options.properties;
  return { ...options, properties };
}

/**
 * `end` of a client that may not have connected yet: there MQTT.js fails for want of a stream, and would
 * wait for answers to what was never sent. A stream that leads nowhere is ended in its place.
 */
function endAlways(inner: MqttClient): MqttClient["end"] {
  const end = inner.end.bind(inner) as (...values: unknown[]) => MqttClient;
  return (...values: unknown[]) => {
    if (inner.stream !== undefined) return end(...values);
    inner.stream = new PassThrough();
    const callback = values.find((value) => typeof value === "function");
    return end(true, {}, callback);
  };
}

/** MQTT.js resolves a topic alias, but forgets the topic of a QoS 2 packet between PUBLISH and PUBREL. */
function resolveAliases(options: IClientOptions): void {
  const handle = options.customHandleAcks;
  if (handle === undefined) return;
  options.customHandleAcks = (topic, payload, packet, done) => {
    if (packet.topic === "") packet.topic = topic;
    handle(topic, payload, packet, done);
  };
}

/** The same bytes as a Buffer. */
function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
