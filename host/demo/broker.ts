// The embedded broker as a process: it knows no key, and writes down everything it carries.
// broker.ts LOG, started with an IPC channel; answers with its port.

import { closeSync, openSync, writeSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { Aedes } from "aedes";
import { logLine } from "./tap.ts";

const log = openSync(process.argv[2] ?? "broker.log", "a", 0o600);
const broker = await Aedes.createBroker();
broker.on("publish", (packet, client) => {
  if (client !== null) writeSync(log, logLine(packet.topic, Buffer.from(packet.payload)));
});
const server = createServer(broker.handle);
server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }));

process.on("SIGINT", () => {});
process.on("disconnect", () => {
  closeSync(log);
  process.exit(0);
});
