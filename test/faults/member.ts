// A member of its own process, to be killed: `member.ts URL IDENTITY NAME writer|reader`. It prints JSON lines, each
// before what it tells of can have an effect: {"frame"} before a frame is on the wire, {"acked"} after the
// broker has a message, {"got"} before a message is acknowledged, {"closed"} after all that a connection brought.

import { writeSync } from "node:fs";
import { connect, type StatusName } from "../../host/index.ts";

const [url = "", identity = "", name = "", role = ""] = process.argv.slice(2);
const PACE_MS = 8;

/** Written at once: a kill right after loses nothing. The pipe may be full on a busy machine. */
function tell(line: Record<string, unknown>): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

const client = connect(url, {
  ampoule: { identity },
  clientId: `member-${name}`,
  clean: false,
  reconnectPeriod: 150,
});
const boot = process.pid.toString(36);
const topic = `plant/${name}/live`;
let count = 0;
let stopped = false;

client.raw.on("packetsend", (packet) => {
  if (packet.cmd !== "publish" || !packet.topic.startsWith("plant/")) return;
  const { generation, step } = client.ampoule.channelFor(packet.topic) ?? { generation: 0, step: 0 };
  tell({
    frame: Buffer.from(packet.payload as Buffer)
      .toString("hex")
      .slice(0, 12),
    generation,
    step,
  });
});
client.on("close", () => tell({ closed: true }));
client.on("error", (error) => tell({ error: error.message }));
client.on("refused", ({ status }: { status: StatusName }) => tell({ refused: status }));

function publishNext(): void {
  if (stopped) return;
  const text = `${name} ${boot} ${count++}`;
  client.publish(topic, text, { qos: 1 }, (error) => {
    if (error === undefined || error === null) tell({ acked: text });
  });
  setTimeout(publishNext, PACE_MS);
}

if (role === "writer") {
  client.once("keys", publishNext);
  if (client.ampoule.channelFor(topic) !== undefined) client.once("connect", publishNext);
} else {
  client.on("keys", () => {
    if (client.ampoule.channelFor(topic) !== undefined) tell({ keys: true });
  });
  client.on("message", (_topic, text) => tell({ got: text.toString() }));
  client.on("connect", () => client.subscribe("plant/+/live", { qos: 1 }, () => tell({ subscribed: true })));
}
process.stdin.on("data", () => {
  stopped = true;
});
process.stdin.on("end", () => process.exit(0));
