// A key server in a process of its own: node serve-process.ts <database> <key file> <broker url>
// It says "serving" once it does, and goes on until it is killed.

import { KeyServer } from "../../host/keyserver/server.ts";
import { nodeWorld } from "../../host/node-world.ts";

const [path, keyFile, url] = process.argv.slice(2) as [string, string, string];
const world = nodeWorld();
const tuning = { poll: 50, batch: 50, resend: 250, resendMax: 1000 };
const server = KeyServer.open({ world, path, unlock: { keyFile }, tuning });
server.onEvent = (event) => {
  if (event.kind === "connected") console.log("serving");
  if (event.kind === "error") console.error(event.detail);
};
server.start(world.link(url, { clientId: "keyserver", clean: true }));
setInterval(() => {}, 60_000);
