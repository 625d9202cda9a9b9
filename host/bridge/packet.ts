// What device and bridge say to each other (firmware/ports/SERIAL.md), as bytes and as objects.

/** Longest packet of a device: a message of 64 frames of 1024 bytes, and its topic. */
export const PACKET_MAX = 68_000;
export const VERSION = 0;

export type FromDevice =
  | { type: "open"; version: number; max: number; id: string }
  | { type: "subscribe"; seq: number; qos: 0 | 1; filter: string }
  | { type: "publish"; seq: number; qos: 0 | 1; retain: boolean; topic: string; payload: Uint8Array }
  | { type: "taken"; seq: number }
  | { type: "log"; text: string };

export interface MessageToDevice {
  type: "message";
  seq: number;
  qos: 0 | 1;
  retained: boolean;
  topic: string;
  payload: Uint8Array;
}

export type ToDevice =
  | { type: "opened"; isKept: boolean }
  | { type: "closed" }
  | { type: "done"; seq: number; isRefused: boolean }
  | MessageToDevice;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads a packet of a device; null for one that is none. */
export function parse(packet: Uint8Array): FromDevice | null {
  try {
    return read(packet);
  } catch {
    // Too short for what it says, or text that is not UTF-8.
    return null;
  }
}

function read(packet: Uint8Array): FromDevice | null {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const text = (from: number, to = packet.length): string => decoder.decode(packet.subarray(from, to));
  switch (String.fromCharCode(view.getUint8(0))) {
    case "O":
      return { type: "open", version: view.getUint8(1), max: view.getUint16(2, true), id: text(4) };
    case "S":
      return {
        type: "subscribe",
        seq: view.getUint16(1, true),
        qos: view.getUint8(3) === 0 ? 0 : 1,
        filter: text(4),
      };
    case "P":
      return readPublish(packet, view, text);
    case "A":
      return { type: "taken", seq: view.getUint16(1, true) };
    case "L":
      return { type: "log", text: text(1) };
    default:
      return null;
  }
}

function readPublish(
  packet: Uint8Array,
  view: DataView,
  text: (from: number, to: number) => string,
): FromDevice {
  const flags = view.getUint8(3);
  const end = 6 + view.getUint16(4, true);
  if (end > packet.length) throw new RangeError("the topic is cut off");
  return {
    type: "publish",
    seq: view.getUint16(1, true),
    qos: (flags & 1) === 1 ? 1 : 0,
    retain: (flags & 2) !== 0,
    topic: text(6, end),
    payload: packet.slice(end),
  };
}

/** Bytes of a packet to the device. */
export function format(packet: ToDevice): Uint8Array {
  switch (packet.type) {
    case "opened":
      return bytes("o", [VERSION, packet.isKept ? 1 : 0]);
    case "closed":
      return bytes("c", []);
    case "done":
      return bytes("a", [...u16(packet.seq), packet.isRefused ? 1 : 0]);
    case "message": {
      const topic = encoder.encode(packet.topic);
      const flags = packet.qos | (packet.retained ? 2 : 0);
      return bytes("m", [...u16(packet.seq), flags, ...u16(topic.length), ...topic, ...packet.payload]);
    }
  }
}

function bytes(type: string, body: number[]): Uint8Array {
  return Uint8Array.from([type.charCodeAt(0), ...body]);
}

function u16(value: number): [number, number] {
  return [value & 0xff, value >> 8];
}
