// The embedded broker as a process that a test can kill: aedes-process.ts PORT

import { createServer } from "node:net";
import { Aedes } from "aedes";

const broker = await Aedes.createBroker();
const server = createServer(broker.handle);
server.listen(Number(process.argv[2]), "127.0.0.1");

function leave(): void {
  broker.close(() => process.exit(0));
}

process.on("SIGTERM", leave);
process.on("disconnect", () => process.exit(0));
