// Vehicle to vehicle over UDP multicast: no broker, no server, only protect and unprotect.
//
//   node examples/udp-v2v.ts
//
// A depot gives two vehicles their keys while they are parked: the key server's payloads are handed
// over directly, in place of a broker. Then they drive, and the server is gone. `ahead` lets a
// vehicle that runs out of counters go on into later steps by itself; `late` keeps up with it.

import { createSocket, type Socket } from "node:dgram";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, KeyServer, type Link, MemoryStore, nodeWorld, RefusedError } from "../host/index.ts";

const GROUP = "239.255.42.99";
const LOOPBACK = "127.0.0.1";
const TOPIC = "v2v/position";

/** Carries payloads between the key server and clients of the same process, as a broker would. */
class DepotLink implements Link {
  onConnect: Link["onConnect"] = () => {};
  onMessage: Link["onMessage"] = () => {};
  onError: Link["onError"] = () => {};
  onClose: Link["onClose"] = () => {};
  readonly #clients: Client[];

  constructor(clients: Client[]) {
    this.#clients = clients;
  }

  connect(): void {
    queueMicrotask(() => this.onConnect(false));
  }

  async publish(topic: string, payload: Uint8Array): Promise<void> {
    await Promise.resolve();
    for (const client of this.#clients) {
      if (!client.controlTopics().includes(topic)) continue;
      const received = client.receive(topic, payload);
      if (received.kind === "control") this.#answer(received.replies);
    }
  }

  async subscribe(): Promise<void> {}

  async end(): Promise<void> {}

  sayHello(): void {
    this.#answer(this.#clients.map((client) => client.hello()));
  }

  #answer(replies: { topic: string; payload: Uint8Array }[]): void {
    for (const { topic, payload } of replies) queueMicrotask(() => this.onMessage(topic, payload, false));
  }
}

/** Provisions a client for each name and waits until all hold the keys of the channel. */
async function depot(names: string[]): Promise<Client[]> {
  const world = nodeWorld();
  const unlock = { passphrase: "only for this example" };
  const server = KeyServer.create({ world, path: ":memory:", unlock, tuning: { batch: 20, poll: 20 } });
  server.createChannel("v2v/+", { late: 5, ahead: 4, markBlock: 64 });
  const clients = names.map(
    (name) => new Client({ store: new MemoryStore(server.provision(name)), world, channels: ["v2v/+"] }),
  );
  for (const name of names) server.grant("v2v/+", name);
  const link = new DepotLink(clients);
  server.start(link);
  await sleep(50);
  link.sayHello();
  const ready = (): boolean => {
    const { step, target } = server.channel("v2v/+");
    return step === target && server.status().every(({ state }) => state === "in sync");
  };
  for (let tries = 0; !ready() && tries < 500; tries++) await sleep(20);
  if (!ready()) throw new Error("the vehicles did not get their keys");
  await server.stop();
  server.close();
  return clients;
}

/** A socket in the multicast group; `port` 0 takes a free one. */
async function drive(name: string, client: Client, port: number): Promise<Socket> {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  await new Promise<void>((resolve) => socket.bind(port, () => resolve()));
  socket.addMembership(GROUP, LOOPBACK);
  socket.setMulticastInterface(LOOPBACK);
  socket.setMulticastLoopback(true);
  socket.on("message", (datagram) => {
    try {
      const received = client.unprotect(TOPIC, datagram);
      if (received.kind !== "text") return;
      console.log(`${name} reads ${Buffer.from(received.text)} from vehicle ${received.sender}`);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      if (error.status !== "REFLECTED") console.log(`${name} refuses a datagram: ${error.status}`);
    }
  });
  return socket;
}

const NAMES = ["red", "blue"];
const clients = await depot(NAMES);
const sockets: Socket[] = [];
let port = 0;
for (const [index, client] of clients.entries()) {
  const socket = await drive(NAMES[index] ?? "", client, port);
  port = socket.address().port;
  sockets.push(socket);
}

let last: Uint8Array = new Uint8Array(0);
for (let round = 0; round < 3; round++) {
  for (const [index, client] of clients.entries()) {
    const [datagram] = client.protect(TOPIC, `km ${12 + round} lane ${index + 1}`);
    if (datagram === undefined) continue;
    sockets[index]?.send(datagram, port, GROUP);
    last = datagram;
    await sleep(20);
  }
}

console.log("somebody repeats the last datagram, then changes one bit of the next one:");
sockets[0]?.send(last, port, GROUP);
await sleep(20);
const [changed = last] = clients.at(-1)?.protect(TOPIC, "km 15 lane 2") ?? [];
changed[40] = (changed[40] ?? 0) ^ 1;
sockets[0]?.send(changed, port, GROUP);
await sleep(50);
for (const socket of sockets) socket.close();
for (const client of clients) client.close();
