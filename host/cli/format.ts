// How `ampoule sub` shows a message to a script: mosquitto's letters, and what a seal adds.

import { InvalidArgumentError } from "commander";
import type { ProtectedPacket } from "../mqtt/protect.ts";

type Field = (topic: string, text: Buffer, packet: ProtectedPacket) => string;

const FIELDS: Record<string, Field> = {
  "%": () => "%",
  t: (topic) => topic,
  p: (_topic, text) => text.toString("utf8"),
  x: (_topic, text) => text.toString("hex"),
  X: (_topic, text) => text.toString("hex").toUpperCase(),
  l: (_topic, text) => String(text.length),
  q: (_topic, _text, packet) => String(packet.qos),
  r: (_topic, _text, packet) => (packet.retain ? "1" : "0"),
  S: (_topic, _text, packet) => String(packet.ampoule?.sender ?? ""),
  G: (_topic, _text, packet) => String(packet.ampoule?.generation ?? ""),
  E: (_topic, _text, packet) => String(packet.ampoule?.step ?? ""),
  N: (_topic, _text, packet) => String(packet.ampoule?.counter ?? ""),
  I: () => new Date().toISOString(),
  j: (topic, text, packet) => JSON.stringify(messageJson(topic, text, packet)),
};

export function checkFormat(format: string): string {
  const unknown = [...format.matchAll(/%(.?)/gs)].find((match) => FIELDS[match[1] ?? ""] === undefined);
  if (unknown !== undefined) throw new InvalidArgumentError(`There is no ${JSON.stringify(unknown[0])}.`);
  return format;
}

export function formatMessage(format: string, topic: string, text: Buffer, packet: ProtectedPacket): string {
  return format.replace(/%(.)/gs, (_, letter: string) => FIELDS[letter]?.(topic, text, packet) ?? "");
}

/** `text` if it is UTF-8, else `base64`. */
export function messageJson(topic: string, text: Buffer, packet: ProtectedPacket): object {
  const { sender, generation, step, counter } = packet.ampoule ?? {};
  const decoded = text.toString("utf8");
  const content = Buffer.from(decoded).equals(text) ? { text: decoded } : { base64: text.toString("base64") };
  return { topic, ...content, sender, generation, step, counter, qos: packet.qos, retained: packet.retain };
}
