// A broker that does what a test says: it records each packet in order, and answers only what every
// broker answers. One client at a time.

import { createServer, type Server, type Socket } from "node:net";
import mqttPacket, { type IPublishPacket, type Packet } from "mqtt-packet";

type Cmd = Packet["cmd"];

export class ScriptedBroker {
  readonly url: string;
  /** Packets of all connections, in the order they came. */
  readonly packets: Packet[] = [];
  connections = 0;
  /** What the next CONNACK says. */
  sessionPresent = false;
  /** Sent right behind the CONNACK, in the same write. */
  queued: IPublishPacket[] = [];
  answerPublish = true;
  /** Packet ids of subscriptions that are to be refused. */
  refuseSubscriptions = false;
  readonly #server: Server;
  #socket: Socket | undefined;
  #version: 3 | 4 | 5 = 4;
  #waiting: { test: () => boolean; resolve: () => void }[] = [];

  static start(): Promise<ScriptedBroker> {
    const server = createServer();
    return new Promise((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve(new ScriptedBroker(server)));
    });
  }

  private constructor(server: Server) {
    this.#server = server;
    const address = server.address();
    this.url = `mqtt://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
    server.on("connection", (socket) => this.#accept(socket));
  }

  of<C extends Cmd>(cmd: C): Extract<Packet, { cmd: C }>[] {
    return this.packets.filter((packet) => packet.cmd === cmd) as Extract<Packet, { cmd: C }>[];
  }

  published(topic: string): IPublishPacket[] {
    return this.of("publish").filter((packet) => packet.topic === topic);
  }

  /** Names of packets in order: "subscribe a,b", "publish a". */
  order(): string[] {
    return this.packets.map((packet) => {
      if (packet.cmd === "publish") return `publish ${packet.topic}`;
      if (packet.cmd === "subscribe") return `subscribe ${packet.subscriptions.map((s) => s.topic).join()}`;
      return packet.cmd;
    });
  }

  send(packet: Packet): void {
    this.#socket?.write(this.#bytes(packet));
  }

  publish(topic: string, payload: Uint8Array | string, fields: Partial<IPublishPacket> = {}): void {
    this.send(message(topic, payload, fields));
  }

  /** Cuts the connection as a network does. */
  cut(): void {
    this.#socket?.destroy();
  }

  /** Resolves when `test` holds, which is asked after each packet and every few milliseconds. */
  async until(what: string, test: () => boolean, ms = 4000): Promise<void> {
    const deadline = Date.now() + ms;
    while (!test()) {
      if (Date.now() > deadline) throw new Error(`waited in vain: ${what}; ${this.order().join("; ")}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 5);
        this.#waiting.push({
          test,
          resolve: () => {
            clearTimeout(timer);
            resolve();
          },
        });
      });
    }
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    this.#socket = socket;
    this.connections += 1;
    let parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on("packet", (packet) => {
      if (packet.cmd === "connect") this.#version = packet.protocolVersion ?? 4;
      this.packets.push(packet);
      this.#answer(packet, socket);
      for (const { resolve } of this.#waiting.splice(0)) resolve();
    });
    parser.on("error", () => socket.destroy());
    socket.on("data", (bytes) => parser.parse(bytes));
    socket.on("error", () => {});
    socket.on("close", () => {
      parser = mqttPacket.parser();
    });
  }

  #answer(packet: Packet, socket: Socket): void {
    const write = (...packets: Packet[]): void => {
      socket.write(Buffer.concat(packets.map((answer) => this.#bytes(answer))));
    };
    switch (packet.cmd) {
      case "connect":
        write(
          { cmd: "connack", returnCode: 0, reasonCode: 0, sessionPresent: this.sessionPresent },
          ...this.queued.splice(0),
        );
        return;
      case "subscribe": {
        const code = this.refuseSubscriptions ? 128 : 0;
        const granted = packet.subscriptions.map(({ qos }) => (code === 0 ? qos : code));
        write({ cmd: "suback", messageId: packet.messageId as number, granted });
        return;
      }
      case "publish":
        if (!this.answerPublish) return;
        if (packet.qos === 1) write({ cmd: "puback", messageId: packet.messageId as number, reasonCode: 0 });
        if (packet.qos === 2) write({ cmd: "pubrec", messageId: packet.messageId as number, reasonCode: 0 });
        return;
      case "pubrel":
        write({ cmd: "pubcomp", messageId: packet.messageId as number, reasonCode: 0 });
        return;
      case "pubrec":
        write({ cmd: "pubrel", messageId: packet.messageId as number, reasonCode: 0 });
        return;
      case "pingreq":
        write({ cmd: "pingresp" });
        return;
      case "disconnect":
        socket.end();
        return;
    }
  }

  #bytes(packet: Packet): Buffer {
    return mqttPacket.generate(packet, { protocolVersion: this.#version });
  }
}

export function message(
  topic: string,
  payload: Uint8Array | string,
  fields: Partial<IPublishPacket> = {},
): IPublishPacket {
  return {
    cmd: "publish",
    topic,
    payload: Buffer.from(payload),
    qos: 0,
    retain: false,
    dup: false,
    ...fields,
  };
}
