// A program that used MQTT.js, with sealed messages: one option more, `ampoule`.
//
//   node examples/mqtt-minimal.ts mqtt://localhost:1883 pump-1.json plant/pump-1/temp
//
// The identity file comes from `ampoule provision`; the channel from `ampoule channel create` and
// `ampoule channel grant`. Text, topics, QoS and retained messages are used as ever.

import { connect } from "../host/index.ts";

const [url = "mqtt://localhost:1883", identity = "device.json", topic = "plant/pump-1/temp"] =
  process.argv.slice(2);

const client = connect(url, { ampoule: { identity } });

client.on("message", (from, text, packet) => {
  console.log(`${from}: ${text} (member ${packet.ampoule?.sender})`);
});
client.on("refused", ({ status, topic: where }) => console.error(`refused ${where}: ${status}`));
client.on("error", (error) => console.error(error.message));
client.on("connect", () => client.subscribe("plant/#", { qos: 1 }));

// Keys come with the first connection, and may be for a step that is about to begin.
let published = false;
function report(): void {
  if (published || client.ampoule.channelFor(topic) === undefined) return;
  client.publish(topic, "21.5", { qos: 1, retain: true }, (error) => {
    if (error) return;
    published = true;
    console.log(`published on ${topic}, sealed`);
  });
}
client.on("connect", report);
client.on("keys", report);

process.once("SIGINT", () => client.end());
