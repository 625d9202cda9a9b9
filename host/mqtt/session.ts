// What a client owes its key server at each connection, in this order: read what the broker kept,
// subscribe to commands and beacons, say hello.
//
// The order is brief but matters: a beacon or a command read before queued frames of older steps
// erases the keys of those frames. A broker does not say when its queue is empty (a SUBACK or a
// PINGRESP may overtake it), so a quiet moment is waited for. Without a session there is no queue,
// and the beacons come first: retained values of later steps can be opened only after them.

import type { ISubscriptionMap, MqttClient } from "mqtt";
import type { Client, Reply } from "../client/client.ts";
import type { Timer, World } from "../world.ts";

export interface SessionTimes {
  /** A queue counts as empty when nothing of QoS 1 or 2 came for so long. */
  quietMs: number;
  /** Longest wait for that. */
  drainMs: number;
  tickMs: number;
}

export interface SessionOptions extends SessionTimes {
  onError: (error: Error) => void;
  /** Called after each tick of the core. */
  onTick: () => void;
}

export class Session {
  readonly #mqtt: MqttClient;
  readonly #client: Client;
  readonly #world: World;
  readonly #times: SessionTimes;
  readonly #onError: (error: Error) => void;
  readonly #onTick: () => void;
  readonly #subscribed = new Set<string>();
  /** Number of the connection: answers of an earlier one are void. */
  #connection = 0;
  #isOpen = false;
  /** The server answered a hello of this connection; ticks since the hello while it has not. */
  #isAnswered = false;
  #unanswered = 0;
  #quiet: Timer | null = null;
  #limit: Timer | null = null;
  #ticker: Timer | null = null;

  constructor(mqtt: MqttClient, client: Client, options: SessionOptions) {
    this.#mqtt = mqtt;
    this.#client = client;
    this.#world = client.world;
    this.#times = options;
    this.#onError = options.onError;
    this.#onTick = options.onTick;
  }

  connected(sessionPresent: boolean): void {
    this.disconnected();
    this.#tickLater();
    if (!sessionPresent) {
      this.#open();
      return;
    }
    this.#limit = this.#world.setTimer(this.#times.drainMs, () => this.#open());
    this.arrived();
  }

  /** A payload of QoS 1 or 2 came: the queue may not be empty yet. */
  arrived(): void {
    if (this.#limit === null) return;
    this.#clear(this.#quiet);
    this.#quiet = this.#world.setTimer(this.#times.quietMs, () => this.#open());
  }

  disconnected(): void {
    this.#connection += 1;
    this.#isOpen = false;
    this.#isAnswered = false;
    this.#unanswered = 0;
    this.#subscribed.clear();
    this.#endDrain();
    this.#clear(this.#ticker);
    this.#ticker = null;
  }

  /** Channels came: their beacons are subscribed. */
  keysChanged(): void {
    if (this.#isOpen) this.#subscribe(() => {});
  }

  /** A command of the server came: it hears this device. */
  answered(): void {
    this.#isAnswered = true;
  }

  /** Sends a hello if refusals or missing counters ask for one; while the queue is read, the one that follows will do. */
  answerWants(): void {
    if (!this.#isOpen) return;
    this.#guarded(() => {
      // One hello names one channel.
      for (let hello = this.#client.wantedHello(); hello !== null; hello = this.#client.wantedHello()) {
        this.send(hello);
      }
    });
  }

  send({ topic, payload }: Reply): void {
    this.#mqtt.publish(topic, Buffer.from(payload), { qos: 1 }, this.#report);
  }

  #open(): void {
    this.#endDrain();
    this.#subscribe(() => {
      this.#isOpen = true;
      this.#guarded(() => this.send(this.#client.hello()));
      this.keysChanged();
    });
  }

  /** `done` is called after the broker's answer, a refusal too, but not if the connection is lost. */
  #subscribe(done: () => void): void {
    const topics = this.#client.controlTopics().filter((topic) => !this.#subscribed.has(topic));
    if (topics.length === 0) {
      done();
      return;
    }
    for (const topic of topics) this.#subscribed.add(topic);
    const map = Object.fromEntries(topics.map((topic) => [topic, { qos: 1 }]));
    const connection = this.#connection;
    // Without `resubscribe` MQTT.js sends nothing for topics it subscribed once.
    this.#mqtt.subscribe({ ...map, resubscribe: true } as unknown as ISubscriptionMap, (error) => {
      if (connection !== this.#connection) return;
      this.#report(error);
      done();
    });
  }

  #tickLater(): void {
    this.#ticker = this.#world.setTimer(this.#times.tickMs, () => {
      // First of all: a listener that throws must not end the ticks.
      this.#tickLater();
      this.#guarded(() => this.#client.tick());
      this.answerWants();
      this.#helloAgain();
      this.#onTick();
    });
  }

  /** A hello that came before the server subscribed is lost: said again after 1, 2, 4, 8... ticks (SPEC C-18). */
  #helloAgain(): void {
    if (!this.#isOpen || this.#isAnswered) return;
    this.#unanswered += 1;
    if ((this.#unanswered & (this.#unanswered - 1)) !== 0) return;
    try {
      this.send(this.#client.hello());
    } catch {
      // A store that fails is told of, and tried again, where a payload needs it.
    }
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** What fails because the connection ends or is lost is done again by the next one. */
  #report = (error?: Error | null): void => {
    const { connected, disconnecting } = this.#mqtt;
    if (error !== undefined && error !== null && connected && !disconnecting) this.#onError(error);
  };

  #endDrain(): void {
    this.#clear(this.#quiet);
    this.#clear(this.#limit);
    this.#quiet = null;
    this.#limit = null;
  }

  #clear(timer: Timer | null): void {
    if (timer !== null) this.#world.clearTimer(timer);
  }
}
