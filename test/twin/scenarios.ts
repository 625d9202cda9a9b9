/** The scripts of the vector files. Each title says what is accepted or refused, when, and by which rule. */

import { type Bytes, concat, hex, run, u8, u16, u32, zeros } from "./bytes.ts";
import { type Command, GRANT_COUNTERS, packCommand, sealChunks } from "./control.ts";
import { padText, sealFrame, tagSize } from "./frame.ts";
import type { DeviceOptions } from "./model.ts";
import type { Script } from "./script.ts";
import { nodeCommands, revisionOf, type Writer } from "./server.ts";
import {
  adOf,
  anyBeacon,
  BOOTING,
  DEVICE,
  DOWN,
  framesOf,
  type Given,
  generationOf,
  KEY,
  PLAIN,
  REALM,
  random,
  STORING,
  Stage,
  TOPIC,
  tampered,
} from "./stage.ts";
import type { Parameters } from "./state.ts";
import type { StatusName } from "./status.ts";
import * as storage from "./storage.ts";
import { seal } from "./suites.ts";

const HOST: DeviceOptions = { ...STORING, channels: 1024, senders: 65536, layout: 2 };

type Play = (stage: Stage) => void;

function script(title: string, play: Play, options = STORING): Script {
  const stage = new Stage(title, options);
  play(stage);
  return stage.script();
}

const text = (n: number): Bytes => run(0x61, n);

const KEEPER: storage.Keeper = {
  realm: REALM,
  device: DEVICE,
  storageKey: storage.storageKey(REALM, DEVICE, KEY),
  layout: 1,
};

const first = (step = 0, counter = 0, sender = 9): Writer => ({ sender, step, counter });

/** A frame around any text of F - 6 - t bytes at all. */
function rawFrame(given: Given, writer: Writer, raw: Bytes): Bytes {
  const { generation, parameters } = given;
  const { form, size } = parameters;
  const { sender, step, counter } = writer;
  const position = { form, size, sender, generation: generation.scope.generation, step, counter };
  const ad = adOf(parameters, TOPIC);
  const key = generation.key(step, sender);
  const { frame, nonce } = sealFrame(position, key, ad, 0x80, zeros(0));
  const t = tagSize(form);
  const sealed = seal(generation.scope.suite, key, nonce, ad.bytes, raw, t);
  return concat(frame.slice(0, 6), sealed.cipher, sealed.tag);
}

/** One frame with any part byte. */
function partFrame(given: Given, writer: Writer, part: number, chunk: Bytes): Bytes {
  const { form, size } = given.parameters;
  return rawFrame(given, writer, padText(part, chunk, size - 6 - tagSize(form)));
}

export function messageScripts(): Script[] {
  const suites = [0, 1, 2, 3].map((suite) =>
    script(
      `device: opens what a member of suite ${suite} sealed, and refuses every single changed byte of it [S-5, F-2, F-4, R-8]`,
      (stage) => {
        const given = stage.give(generationOf(suite), { t: suite < 2 ? 16 : 8, size: 32 });
        const payload = stage.payload(given, first(), text(8));
        const changed: [number, StatusName][] = [
          [0, "BAD_FORM"],
          [2, "BAD_TAG"],
          [4, "BAD_TAG"],
          [6, "BAD_TAG"],
          [-1, "BAD_TAG"],
          [-8, "BAD_TAG"],
        ];
        for (const [offset, status] of changed) stage.read(given, tampered(payload, offset, 4), status);
        stage.read(given, payload, "BAD_TAG", { topic: `${TOPIC}x` });
        stage.read(given, payload, "OK");
        stage.read(given, payload, "REPLAYED");
      },
    ),
  );
  return [
    ...suites,
    script("device: takes a message of 64 frames and none of 65 [F-5, R-1, R-10]", (stage) => {
      const given = stage.give(generationOf(0), { size: 32 });
      stage.read(given, stage.payload(given, first(), text(64 * 8)), "OK");
      stage.read(given, stage.payload(given, first(0, 64), text(64 * 8 + 1)), "BAD_LENGTH");
    }),
    script("device: refuses payloads one byte short or long, and the empty one [F-7, R-1]", (stage) => {
      const given = stage.give(generationOf(0));
      const payload = stage.payload(given, first(), text(40));
      for (const n of [0, 1, 2, 63]) stage.read(given, payload.slice(0, n), "BAD_LENGTH");
      stage.read(given, concat(payload, u8(0)), "BAD_LENGTH");
      stage.read(given, payload, "OK");
    }),
    script("device: refuses frames of one payload that are not one message [F-5, F-6, R-9]", (stage) => {
      const given = stage.give(generationOf(0));
      const [a, b, c] = framesOf(given, first(), text(100)) as [Bytes, Bytes, Bytes];
      const other = framesOf(given, first(0, 1, 10), text(80)) as [Bytes, Bytes];
      stage.read(given, b, "BAD_PART");
      stage.read(given, concat(a, b), "BAD_PART");
      stage.read(given, concat(a, c), "BAD_PART");
      stage.read(given, concat(b, c), "BAD_PART");
      stage.read(given, concat(a, a), "BAD_PART");
      stage.read(given, concat(a, other[1]), "BAD_PART");
      stage.read(given, concat(a, partFrame(given, first(0, 1), 0x82, text(3))), "BAD_PART");
      stage.read(given, concat(partFrame(given, first(), 0x80, text(3)), b, c), "BAD_PART");
      stage.read(given, concat(a, partFrame(given, first(1, 1), 0x81, text(3))), "BAD_PART");
      stage.read(given, concat(a, b, tampered(c, 20)), "BAD_TAG");
      stage.read(given, concat(a, b, c), "OK");
      stage.read(given, concat(a, b, c), "REPLAYED");
    }),
    script("device: refuses a text without end mark or with bit 6 of the part [F-3, R-8]", (stage) => {
      const given = stage.give(generationOf(0));
      const size = 64 - 6 - 16;
      const bad = [
        concat(u8(0x80), zeros(size - 1)),
        concat(u8(0x80), run(1, size - 1)),
        concat(u8(0xc0), text(3), u8(0x80), zeros(size - 5)),
        zeros(size),
      ];
      for (const raw of bad) stage.read(given, rawFrame(given, first(), raw), "BAD_PADDING");
      stage.read(given, rawFrame(given, first(), concat(u8(0x80), zeros(size - 2), u8(0x80))), "OK");
      stage.read(given, rawFrame(given, first(0, 1), concat(u8(0x80), u8(0x80), zeros(size - 2))), "OK");
    }),
    script("device: reads topic mode 1 under any topic [F-2]", (stage) => {
      const given = stage.give(generationOf(2), { flags: 1 });
      const payload = stage.payload(given, first(), text(5));
      stage.read(given, payload, "OK", { topic: "another" });
      const own = stage.write(given, text(3), "OK");
      if (own.payloads?.length !== 1) throw new Error("one payload expected");
    }),
    script("device: reads the step of a hint from base to base + 15 [R-3, R-12]", (stage) => {
      const given = stage.give(generationOf(0), { step: 20, to: 255, la: 0x12 });
      for (const step of [18, 19, 20, 21, 33])
        stage.read(given, stage.payload(given, first(step), text(1)), "OK");
      stage.read(given, stage.payload(given, first(34, 0, 10), text(1)), "BAD_TAG");
      stage.read(given, stage.payload(given, first(17, 0, 10), text(1)), "BAD_TAG");
      stage.move(given, 21);
    }),
    script("device: refuses a step without node, or before open [R-4]", (stage) => {
      const given = stage.give(generationOf(0), { step: 4, from: 4, to: 7, open: 3 });
      stage.read(given, stage.payload(given, first(2), text(1)), "CLOSED");
      stage.read(given, stage.payload(given, first(3), text(1)), "NO_LEASE");
      stage.read(given, stage.payload(given, first(4), text(1)), "OK");
      stage.read(given, stage.payload(given, first(7), text(1)), "OK");
      stage.read(given, stage.payload(given, first(8), text(1)), "NO_LEASE");
    }),
    script("device: refuses its own frames, and takes sender 0 when it has no will number [R-5]", (stage) => {
      const given = stage.give(generationOf(0), { sender: 3 });
      stage.read(given, stage.payload(given, first(0, 0, 3), text(1)), "REFLECTED");
      stage.read(given, stage.payload(given, first(0, 0, 0), text(1)), "OK");
      const other = stage.give(generationOf(1), { sender: 3, will: 4 });
      stage.read(other, stage.payload(other, first(0, 0, 4), text(1)), "REFLECTED");
      stage.read(other, stage.payload(other, first(0, 0, 3), text(1)), "REFLECTED");
    }),
    script(
      "device: refuses a ninth sender until a row is free, and has a row for sender 0 apart [R-6, W-7]",
      (stage) => {
        const given = stage.give(generationOf(0), { sender: 1 });
        for (let sender = 2; sender < 10; sender++) {
          stage.read(given, stage.payload(given, first(0, 0, sender), text(1)), "OK");
        }
        stage.read(given, stage.payload(given, first(0, 0, 10), text(1)), "NO_ROOM");
        stage.read(given, stage.payload(given, first(0, 0, 0), text(1)), "OK");
        stage.move(given, 2);
        stage.read(given, stage.payload(given, first(2, 0, 10), text(1)), "NO_ROOM");
        stage.move(given, 3);
        stage.read(given, stage.payload(given, first(3, 0, 10), text(1)), "OK");
      },
    ),
    script(
      "device: asks the server at the 1st, 2nd, 4th and 8th failure since a revision [R-13]",
      (stage) => {
        const given = stage.give(generationOf(0));
        const bad = tampered(stage.payload(given, first(), text(1)), -1);
        for (let i = 0; i < 9; i++) stage.read(given, bad, "BAD_TAG");
        stage.revise([{ code: 8, nonce: random("query", 8) }], { expect: "OK", statuses: ["OK"] });
        stage.read(given, bad, "BAD_TAG");
      },
    ),
    script(
      "device: refuses the 17th derivation, and gets credit by tick, accepted frame and 16th refusal [R-14, N-3]",
      (stage) => {
        const given = stage.give(generationOf(0));
        const good = (counter: number) => stage.payload(given, first(0, counter), text(1));
        const bad = tampered(good(0), -1);
        for (let i = 0; i < 16; i++) stage.read(given, bad, "BAD_TAG");
        stage.read(given, bad, "BUSY");
        stage.read(given, good(0), "BUSY");
        stage.call({ call: "tick" }, "OK");
        stage.read(given, good(0), "OK");
        for (let i = 0; i < 3; i++) stage.read(given, tampered(good(1), -1), "BAD_TAG");
        const other = stage.payload(given, first(0, 0, 11), text(1));
        stage.read(given, tampered(other, -1), "BAD_TAG");
        for (let i = 0; i < 13; i++) stage.read(given, other, "BUSY");
        stage.read(given, other, "BUSY");
        stage.read(given, other, "OK");
      },
    ),
    script("device: opens stored values where the channel allows them, without window [R-11]", (stage) => {
      const given = stage.give(generationOf(0), { flags: 0x02 });
      const payload = stage.payload(given, first(), text(60));
      stage.read(given, payload, "OK", { stored: true });
      stage.read(given, payload, "OK", { stored: true });
      stage.read(given, payload, "OK");
      stage.read(given, payload, "REPLAYED");
      stage.read(given, payload, "OK", { stored: true });
      stage.read(given, tampered(payload, 9), "BAD_TAG", { stored: true });
      const other = stage.give(generationOf(1));
      stage.read(other, stage.payload(other, first(), text(1)), "NO_STORED_MODE", { stored: true });
    }),
    script("device: joins the parts of a narrow message and drops one with a gap [F-6, R-9]", (stage) => {
      const given = stage.give(generationOf(0), { flags: 0x04 });
      const [a, b, c] = framesOf(given, first(), text(100)) as [Bytes, Bytes, Bytes];
      stage.read(given, concat(a, b), "BAD_LENGTH");
      stage.read(given, a, "MORE");
      stage.read(given, b, "MORE");
      stage.read(given, c, "OK");
      stage.read(given, c, "REPLAYED");
      const [d, , f] = framesOf(given, first(0, 3), text(100)) as [Bytes, Bytes, Bytes];
      stage.read(given, d, "MORE");
      stage.read(given, f, "GAP");
      stage.read(given, f, "REPLAYED");
      const [g, h] = framesOf(given, first(0, 6), text(60)) as [Bytes, Bytes];
      stage.read(given, h, "GAP");
      stage.read(given, g, "MORE");
      const own = stage.write(given, text(100), "OK");
      if (own.payloads?.length !== 3) throw new Error("three payloads expected");
    }),
    script(
      "device: reads the previous generation at its kept steps only, until current > late [R-2, R-3, C-11]",
      (stage) => {
        const old = stage.give(generationOf(0), { step: 9, open: 8, to: 127, sender: 5, la: 0x12 });
        const new8 = generationOf(0, 8);
        stage.read(old, stage.payload(old, first(9), text(1)), "OK");
        const next = stage.give(new8, { step: 0, to: 127, sender: 6, la: 0x12, flags: 0x80 });
        stage.read(old, stage.payload(old, first(9), text(1)), "REPLAYED");
        stage.read(old, stage.payload(old, first(8), text(1)), "OK");
        stage.read(old, stage.payload(old, first(9, 1), text(1)), "OK");
        stage.read(old, stage.payload(old, first(10), text(1)), "OK");
        stage.read(old, stage.payload(old, first(7), text(1)), "UNKNOWN_EPOCH");
        stage.read(old, stage.payload(old, first(11), text(1)), "UNKNOWN_EPOCH");
        stage.read(old, stage.payload(old, first(9, 0, 5), text(1)), "REFLECTED");
        stage.read(old, stage.payload(old, first(9, 0, 6), text(1)), "OK");
        stage.read(next, stage.payload(next, first(0, 0, 6), text(1)), "REFLECTED");
        stage.read(next, stage.payload(next, first(0, 0, 5), text(1)), "OK");
        stage.move(next, 2);
        stage.read(old, stage.payload(old, first(10, 1), text(1)), "OK");
        stage.move(next, 3);
        stage.read(old, stage.payload(old, first(10, 2), text(1)), "UNKNOWN_EPOCH");
      },
    ),
    script(
      "device: keeps the windows of kept steps although it read further ahead than it keeps [W-7, C-11]",
      (stage) => {
        const old = stage.give(generationOf(0), { step: 9, open: 8, to: 127, sender: 5, la: 0x12 });
        stage.read(old, stage.payload(old, first(9), text(1)), "OK");
        stage.read(old, stage.payload(old, first(10), text(1)), "OK");
        stage.read(old, stage.payload(old, first(14), text(1)), "OK");
        stage.give(generationOf(0, 8), { step: 0, to: 127, sender: 6, la: 0x12, flags: 0x80 });
        stage.read(old, stage.payload(old, first(9), text(1)), "CLOSED");
        stage.read(old, stage.payload(old, first(10), text(1)), "REPLAYED");
        stage.read(old, stage.payload(old, first(10, 1), text(1)), "OK");
        stage.read(old, stage.payload(old, first(10, 1), text(1)), "REPLAYED");
      },
    ),
    script("device: reads the previous generation in its own frame size and form [R-1, R-2]", (stage) => {
      const old = stage.give(generationOf(0), { size: 32, flags: 0 });
      const next = stage.give(generationOf(0, 8), { size: 64, t: 8, flags: 0x81 });
      stage.read(old, stage.payload(old, first(), text(20)), "OK");
      stage.read(next, stage.payload(next, first(0, 0, 8), text(20)), "OK", { topic: "any" });
      const payload = stage.payload(old, first(0, 9), text(2));
      stage.read(old, concat(payload, zeros(16)), "BAD_LENGTH");
      stage.read(old, tampered(payload, 0, 0x10), "BAD_FORM");
      stage.read(next, tampered(payload, 1, 0x80), "BAD_LENGTH");
      const wrong = stage.payload(next, first(0, 1, 8), text(2));
      stage.read(next, tampered(wrong, 1, 0x20), "UNKNOWN_EPOCH");
      stage.read(next, concat(wrong, wrong), "BAD_PART");
    }),
    script(
      "device: does not read the previous generation without keep previous, nor two generations back [C-11]",
      (stage) => {
        const old = stage.give(generationOf(0));
        stage.read(old, stage.payload(old, first(), text(1)), "OK");
        stage.give(generationOf(0, 8));
        stage.read(old, stage.payload(old, first(0, 1), text(1)), "UNKNOWN_EPOCH");
        const mid = stage.give(generationOf(0, 9), { flags: 0x80 });
        stage.give(generationOf(0, 11), { flags: 0x80 });
        stage.read(mid, stage.payload(mid, first(), text(1)), "UNKNOWN_EPOCH");
      },
    ),
    script("device: holds the window of a late step and closes what is older [W-1, W-2, W-3]", (stage) => {
      const given = stage.give(generationOf(0), { step: 3, la: 0x12 });
      const at = (step: number, counter: number, status: StatusName) =>
        stage.read(given, stage.payload(given, first(step, counter), text(1)), status);
      at(2, 100, "OK");
      at(2, 37, "OK");
      at(2, 36, "CLOSED");
      at(2, 100, "REPLAYED");
      at(3, 5, "OK");
      at(2, 101, "OK");
      at(2, 101, "REPLAYED");
      at(1, 0, "CLOSED");
      at(4, 0, "OK");
      at(3, 4, "OK");
      at(2, 103, "CLOSED");
      at(1, 0, "CLOSED");
    }),
    script("device: takes older epochs it never saw as long as they rise [W-2, W-3]", (stage) => {
      const given = stage.give(generationOf(0), { step: 3, la: 0x12 });
      const at = (step: number, counter: number, status: StatusName) =>
        stage.read(given, stage.payload(given, first(step, counter), text(1)), status);
      at(4, 0, "OK");
      at(1, 0, "OK");
      at(1, 0, "REPLAYED");
      at(2, 0, "OK");
      at(1, 1, "CLOSED");
      at(5, 0, "OK");
      at(3, 0, "CLOSED");
      at(4, 1, "OK");
    }),
    script("device: refuses every call before it has an identity [I-1]", () => {}, STORING),
  ].map((made) => (made.title.includes("[I-1]") ? noIdentity(made.title) : made));
}

function noIdentity(title: string): Script {
  const stage = new Stage(title, STORING, false);
  const id = hex(zeros(8));
  stage.call({ call: "protect", channel: id, text: "", topic: "", will: false }, "NO_IDENTITY");
  stage.call({ call: "unprotect", channel: id, payload: "", topic: "", stored: false }, "NO_IDENTITY");
  stage.call({ call: "beacon", channel: id, payload: "" }, "NO_IDENTITY");
  stage.call({ call: "control", payload: "", topic: "" }, "NO_IDENTITY");
  stage.call({ call: "ack", topic: "" }, "NO_IDENTITY");
  stage.call({ call: "hello", topic: "", want: id }, "NO_IDENTITY");
  stage.call({ call: "saveBlob", sequence: 1 }, "NO_IDENTITY");
  stage.call({ call: "confirm", stored: true }, "NO_IDENTITY");
  return stage.script();
}

/** A mark that the device could have written: to start a script deep in its counters. */
function ownMark(
  given: Given,
  step: number,
  bound: number,
  what: number,
  number: number,
  sequence = 1,
): Bytes {
  const { id, generation, sender, will } = given.parameters;
  const mark = { channel: id, generation, bound, step, sender: what === storage.WILL ? will : sender, what };
  return storage.sealMark(KEEPER, mark, sequence, number);
}

export function sendScripts(): Script[] {
  return [
    script("device: seals nothing before the first leased step [P-2]", (stage) => {
      const given = stage.give(generationOf(0), { step: 3, from: 4, open: 4 });
      stage.write(given, text(3), "NOT_YET");
      stage.move(given, 4);
      stage.write(given, text(3), "OK");
    }),
    script(
      "device: moves on to the next step when the counters of one are used up, as far as ahead [P-2]",
      (stage) => {
        const given = stage.give(generationOf(0), { la: 0x12 });
        const marks = [ownMark(given, 0, 65535, storage.OWN, 1)];
        stage.restart("OK", stage.slots, marks);
        stage.write(given, text(60), "OK");
        stage.write(given, text(3), "OK");
        stage.restart("OK", stage.slots, [...marks, ownMark(given, 1, 65535, storage.OWN, 9)]);
        stage.write(given, text(3), "OK");
        stage.write(given, text(3), "EXHAUSTED");
        stage.move(given, 1);
        stage.write(given, text(3), "OK");
      },
    ),
    script("device: seals nothing after the lease [P-2]", (stage) => {
      const given = stage.give(generationOf(0), { step: 6, to: 7 });
      stage.write(given, text(3), "OK");
      stage.move(given, 7);
      stage.write(given, text(3), "OK");
      stage.move(given, 8);
      stage.write(given, text(3), "EXPIRED");
    }),
    script("device: seals nothing without a node for the step [P-2]", (stage) => {
      const generation = generationOf(0);
      const given = stage.give(generation, { step: 1, from: 0, to: 3 });
      stage.revise([{ code: 1, parameters: { ...given.parameters, to: 5 } }], { statuses: ["OK"] });
      stage.move(given, 4);
      stage.write(given, text(3), "NO_LEASE");
      stage.revise(nodeCommands(given.parameters.id, 7, generation.lease(4, 5, 4)), { statuses: ["OK"] });
      stage.write(given, text(3), "OK");
    }),
    script(
      "device: reserves blocks of 16, 32 ... 1024 counters before it seals past the limit [P-3, T-5]",
      (stage) => {
        const given = stage.give(generationOf(0), { size: 24, t: 8 });
        const send = (frames: number) => stage.write(given, text(8 * frames), "OK");
        send(15);
        send(1);
        send(1);
        send(32);
        for (let i = 0; i < 50; i++) send(63);
      },
    ),
    script("device: has counters of its own for wills [P-1]", (stage) => {
      const given = stage.give(generationOf(0), { will: 2 });
      stage.write(given, text(3), "OK");
      stage.write(given, text(3), "OK", { will: true });
      stage.write(given, text(50), "OK", { will: true });
      const without = stage.give(generationOf(1));
      stage.write(without, text(3), "BAD_ARGUMENT", { will: true });
    }),
    script(
      "device: spends the counters of a mark that could not be stored only if it was stored [P-3, P-6]",
      (stage) => {
        const given = stage.give(generationOf(0));
        const call = {
          call: "protect",
          channel: given.id,
          text: hex(text(2)),
          topic: TOPIC,
          will: false,
        } as const;
        stage.call(call, "STORE_MARK");
        stage.call(call, "BAD_ORDER");
        stage.confirm(false);
        stage.confirm(true, "BAD_ORDER");
        stage.call(call, "STORE_MARK");
        stage.confirm();
        stage.call(call, "OK");
      },
    ),
    script("device: refuses texts over 64 frames, and channels it does not hold [P-2, P-7, F-5]", (stage) => {
      const given = stage.give(generationOf(0), { size: 32 });
      stage.write(given, text(512), "OK");
      stage.write(given, text(513), "BAD_ARGUMENT");
      const unknown = { ...given, id: hex(zeros(8)) };
      stage.write(unknown, text(1), "NO_CHANNEL");
    }),
    script(
      "device: takes topics of 1024 bytes and none longer [F-2]",
      (stage) => {
        const given = stage.give(generationOf(0));
        const [long, longer] = ["t".repeat(1024), "t".repeat(1025)];
        stage.write(given, text(1), "OK", { topic: long });
        stage.write(given, text(1), "BAD_ARGUMENT", { topic: longer });
        stage.read(given, stage.payload(given, first(), text(1), long), "OK", { topic: long });
        stage.read(given, stage.payload(given, first(), text(1)), "BAD_ARGUMENT", { topic: longer });
      },
      HOST,
    ),
    script(
      "device without storage: seals within its grant only [P-4, C-21]",
      (stage) => {
        stage.grantSession();
        const given = stage.give(generationOf(0), { sender: 3, will: 4, size: 32, la: 0x12 });
        const grant = (step: number, from: number, end: number, status: StatusName, sender = 3) => {
          const { id } = given.parameters;
          const command: Command = { code: 7, channel: id, generation: 7, step, sender, first: from, end };
          stage.revise([command], { statuses: [status] });
        };
        stage.write(given, text(1), "NO_GRANT");
        grant(0, 5, 8, "OK");
        stage.write(given, text(16), "OK");
        stage.write(given, text(16), "NO_GRANT");
        stage.write(given, text(8), "OK");
        stage.write(given, text(8), "NO_GRANT");
        grant(0, 65535, 65536, "OK");
        stage.write(given, text(8), "OK");
        stage.write(given, text(8), "NO_GRANT");
        grant(2, 0, 16, "OK");
        stage.write(given, text(8), "EXHAUSTED");
        stage.move(given, 1);
        stage.write(given, text(8), "OK");
        grant(127, 0, 0, "OK");
        grant(128, 0, 0, "BAD_COMMAND");
        grant(1, 9, 8, "BAD_COMMAND");
        grant(1, 0, 65537, "BAD_COMMAND");
        grant(1, 0, 9, "BAD_COMMAND", 5);
        grant(1, 0, 9, "BAD_COMMAND", 0);
        grant(1, 0, 9, "OK", 4);
        stage.write(given, text(8), "OK", { will: true });
      },
      BOOTING,
    ),
    script(
      "device without boot nonce: seals single frames only [P-4]",
      (stage) => {
        stage.grantSession();
        const given = stage.give(generationOf(2), { size: 32 });
        const { id } = given.parameters;
        const command: Command = {
          code: 7,
          channel: id,
          generation: 7,
          step: 0,
          sender: 1,
          first: 0,
          end: 8,
        };
        stage.revise([command], { statuses: ["OK"] });
        stage.write(given, text(8), "OK");
        stage.write(given, text(9), "SINGLE_ONLY");
        stage.read(given, stage.payload(given, first(), text(60)), "OK");
      },
      PLAIN,
    ),
    script("device: seals AEAD suites after a lost write from step hold on only [P-5, T-8]", (stage) => {
      const given = stage.give(generationOf(1), { step: 4, la: 0x12 });
      const siv = stage.give(generationOf(0), { step: 4, la: 0x12 });
      stage.write(given, text(1), "OK");
      stage.restart("OK", [stage.slots[1], tampered(stage.slots[1], 40)]);
      stage.write(given, text(1), "HOLD");
      stage.write(siv, text(1), "OK");
      stage.move(given, 5);
      stage.write(given, text(1), "HOLD");
      stage.move(given, 6);
      stage.write(given, text(1), "OK");
    }),
  ];
}

export function beaconScripts(): Script[] {
  return [
    script("device: takes a beacon 1 to 256 steps ahead, to step 4095 at most [B-3]", (stage) => {
      const generation = generationOf(0);
      const parameters = stageParameters(0, { step: 3600, from: 3500, to: 4095, v: generation.v(3600) });
      stage.revise([{ code: 1, parameters }], { statuses: ["OK"] });
      const given = { generation, parameters, id: hex(parameters.id) };
      const { form } = parameters;
      stage.move(given, 3600, "OLD_BEACON");
      stage.move(given, 3599, "OLD_BEACON");
      stage.move(given, 3857, "FAR_BEACON");
      stage.move(given, 3856);
      stage.move(given, 3857);
      stage.move(given, 4095);
      stage.beacon(given, anyBeacon(form, 7, 4096, zeros(16)), "FAR_BEACON");
      stage.beacon(given, anyBeacon(form, 7, 0xffffffff, zeros(16)), "FAR_BEACON");
    }),
    script("device: refuses a beacon of another length, form, generation or channel [B-2, B-3]", (stage) => {
      const given = stage.give(generationOf(0));
      const { generation, parameters } = given;
      const good = generation.beacon(parameters.form, 1);
      stage.beacon(given, zeros(0), "BAD_BEACON");
      stage.beacon(given, good.slice(0, 24), "BAD_BEACON");
      stage.beacon(given, concat(good, u8(0)), "BAD_BEACON");
      stage.beacon(given, tampered(good, 0, 0x10), "BAD_BEACON");
      stage.beacon(given, tampered(good, 1), "UNKNOWN_EPOCH");
      stage.beacon({ ...given, id: hex(zeros(8)) }, good, "NO_CHANNEL");
      stage.beacon(given, good, "OK");
      stage.beacon(given, good, "OLD_BEACON");
    }),
    script("device: pauses all beacons for 16 payloads after a false one [B-4]", (stage) => {
      const given = stage.give(generationOf(0));
      const other = stage.give(generationOf(1));
      const good = given.generation.beacon(given.parameters.form, 1);
      const payload = stage.payload(other, first(), text(1));
      stage.beacon(given, tampered(good, -1), "BAD_BEACON");
      stage.beacon(given, good, "BUSY");
      stage.read(other, payload, "OK");
      for (let i = 0; i < 14; i++) stage.read(other, payload, "REPLAYED");
      stage.beacon(given, good, "BUSY");
      stage.move(other, 1, "BUSY");
      stage.read(other, payload, "REPLAYED");
      stage.move(other, 1);
      stage.beacon(given, good, "OK");
      stage.beacon(given, tampered(given.generation.beacon(0, 2), 9), "BAD_BEACON");
      stage.move(given, 2, "BUSY");
      stage.call({ call: "tick" }, "OK");
      stage.move(given, 2);
    }),
    script("device: moves current by no frame [B-5]", (stage) => {
      const given = stage.give(generationOf(0), { step: 4 });
      stage.read(given, stage.payload(given, first(9), text(1)), "OK");
      stage.read(given, stage.payload(given, first(2), text(1)), "OK");
      stage.move(given, 4, "OLD_BEACON");
      stage.move(given, 5);
    }),
    script("device: erases nodes left of base and keeps the rest after a beacon [K-5]", (stage) => {
      const given = stage.give(generationOf(2), { to: 255, la: 0x12 });
      for (const step of [2, 3, 100, 129, 130]) {
        stage.move(given, step);
        stage.read(given, stage.payload(given, first(step - 2), text(1)), "OK");
      }
    }),
  ];
}

const changed = <T>(value: T, changes: Partial<T>): T => ({ ...value, ...changes });

export function controlScripts(): Script[] {
  const generation = generationOf(0);
  const query: Command = { code: 8, nonce: random("query", 8) };
  return [
    script("device: refuses impossible channels [C-8]", (stage) => {
      const { parameters } = stage.give(generation, { sender: 4, will: 5 });
      const fresh = changed(parameters, { id: random("other", 8) });
      const impossible: Partial<typeof parameters>[] = [
        { form: 0x01 },
        { form: 0x20 },
        { size: 24 },
        { size: 1032 },
        { size: 0 },
        { la: 0x11 },
        { la: 0x00 },
        { la: 0x13 },
        { la: 0x08 },
        { flags: 0x20 },
        { flags: 0x40 },
        { flags: 0x18 },
        { generation: 0 },
        { step: 4096 },
        { open: 4096 },
        { to: 4096 },
        { from: 128 },
        { sender: 0 },
        { sender: 5 },
      ];
      for (const changes of impossible) {
        const command: Command = { code: 1, parameters: changed(fresh, changes) };
        stage.revise([command], { expect: "OK", statuses: ["BAD_COMMAND"] });
      }
      const possible: Partial<typeof parameters>[] = [
        { form: 0x10, size: 24 },
        { size: 1024 },
        { flags: 0x97, la: 0x12, step: 4095, open: 4095, to: 4095 },
      ];
      for (const changes of possible) {
        const set: Command = { code: 1, parameters: changed(fresh, changes) };
        stage.revise([set], { statuses: ["OK"] });
        stage.revise([{ code: 3, channel: fresh.id }], { statuses: ["OK"] });
      }
      stage.revise([{ code: 3, channel: fresh.id }], { expect: "OK", statuses: ["NO_CHANNEL"] });
    }),
    script(
      "device: refuses a suite that its build lacks [C-8]",
      (stage) => {
        stage.give(generationOf(0));
        const parameters = { ...stageParameters(2) };
        stage.revise([{ code: 1, parameters }], { expect: "OK", statuses: ["BAD_SUITE"] });
      },
      { ...STORING, suites: 0b0011 },
    ),
    script(
      "device without storage: refuses AEAD suites [C-8, P-5]",
      (stage) => {
        stage.grantSession();
        const aead: Command = { code: 1, parameters: stageParameters(1) };
        const siv: Command = { code: 1, parameters: stageParameters(0) };
        stage.revise([aead, siv], { statuses: ["BAD_SUITE", "OK"] });
      },
      { ...BOOTING, suites: 0b1111 },
    ),
    script("device: has four channels and no fifth [C-9, C-14]", (stage) => {
      const sets = [0, 1, 2, 3, 4].map(
        (i): Command => ({ code: 1, parameters: { ...stageParameters(0), id: random(`slot ${i}`, 8) } }),
      );
      stage.revise(sets, { statuses: ["OK", "OK", "OK", "OK", "CHANNEL_FULL"] });
      stage.revise([{ code: 3, channel: random("slot 1", 8) }, ...sets.slice(4)], { statuses: ["OK", "OK"] });
      stage.revise([{ code: 4 }], { statuses: ["OK"] });
      stage.revise([{ code: 4 }], { expect: "OK", statuses: ["OK"] });
      stage.revise(sets.slice(0, 2), { statuses: ["OK", "OK"] });
    }),
    script("device: raises step, open and to of a generation and changes nothing else [C-10]", (stage) => {
      const given = stage.give(generation, { step: 5, open: 2, will: 2 });
      const { parameters } = given;
      const set = (changes: Partial<typeof parameters>, status: StatusName, store: StatusName = "OK") => {
        const command: Command = { code: 1, parameters: changed(parameters, changes) };
        stage.revise([command], { expect: store, statuses: [status] });
      };
      set({ form: 0x10 }, "BAD_CHANGE");
      set({ size: 72 }, "BAD_CHANGE");
      set({ la: 0x01 }, "BAD_CHANGE");
      set({ flags: 0x01 }, "BAD_CHANGE");
      set({ sender: 7 }, "BAD_CHANGE");
      set({ will: 7 }, "BAD_CHANGE");
      set({ from: 1 }, "BAD_CHANGE");
      set({}, "OK");
      set({ step: 4, open: 1, to: 100, v: zeros(16) }, "OK");
      set({ step: 5, v: zeros(16) }, "OK");
      set({ flags: 0x80 }, "OK", "STORE_BLOB");
      set({ open: 3 }, "OK", "STORE_BLOB");
      set({ to: 255 }, "OK", "STORE_BLOB");
      set({ step: 600, to: 700, v: generation.v(600) }, "OK", "STORE_BLOB");
      stage.write(given, text(1), "NO_LEASE");
      stage.move({ ...given, parameters: changed(parameters, { step: 600 }) }, 601);
    }),
    script("device: refuses a lower generation and starts a higher one afresh [C-11, C-12]", (stage) => {
      const given = stage.give(generationOf(0, 8), { will: 2 });
      stage.write(given, text(1), "OK");
      stage.revise([{ code: 1, parameters: stageParameters(0) }], {
        expect: "OK",
        statuses: ["OLD_GENERATION"],
      });
      const next = stage.give(generationOf(0, 9), { sender: 3 });
      stage.write(next, text(1), "OK");
    }),
    script("device: takes nodes within the lease and names each refusal [C-13, K-5, K-6]", (stage) => {
      const { parameters } = stage.give(generation, { step: 2, from: 2, to: 255, la: 0x12 });
      const { id } = parameters;
      const add = (hs: readonly number[], status: StatusName, store: StatusName = "OK") => {
        const nodes = hs.map((h) => generation.node(h));
        const command: Command = { code: 2, channel: id, generation: 7, nodes };
        stage.revise([command], { expect: store, statuses: [status] });
      };
      add([4098, 4099], "HELD");
      add([33], "HELD");
      add([32], "BAD_NODE");
      add([34], "BAD_NODE");
      add([16], "BAD_NODE");
      add([4097], "BAD_NODE");
      add([0], "BAD_NODE");
      add([8192], "BAD_NODE");
      add([34, 4098], "BAD_NODE");
      const nodes = [generation.node(4098)];
      stage.revise([{ code: 2, channel: id, generation: 6, nodes }], {
        expect: "OK",
        statuses: ["UNKNOWN_EPOCH"],
      });
      stage.revise([{ code: 2, channel: random("none", 8), generation: 7, nodes }], {
        expect: "OK",
        statuses: ["NO_CHANNEL"],
      });
    }),
    script(
      "device: refuses the node that could need a ninth slot and keeps the others of the command [K-6, C-13]",
      (stage) => {
        const parameters = stageParameters(0, { to: 4095 });
        stage.revise([{ code: 1, parameters }], { statuses: ["OK"] });
        const add = (hs: readonly number[], status: StatusName, store: StatusName = "STORE_BLOB") => {
          const nodes = hs.map((h) => generation.node(h));
          const command: Command = { code: 2, channel: parameters.id, generation: 7, nodes };
          stage.revise([command], { expect: store, statuses: [status] });
        };
        add([32, 33], "OK");
        add([34], "LEASE_FULL", "OK");
        add([4096 + 300], "LEASE_FULL", "OK");
        add([32, 34, 33], "LEASE_FULL", "OK");
        const moved = { ...parameters, step: 66, v: generation.v(66) };
        stage.revise([{ code: 1, parameters: moved }], { statuses: ["OK"] });
        add([4096 + 260, 4096 + 262, 4096 + 264], "LEASE_FULL");
      },
    ),
    script(
      "device: keeps both control keys until the first payload under the new one [C-15, C-16, V-5]",
      (stage) => {
        const { client } = stage;
        const old = client.base();
        const ratchet = client.ratchet(random("fresh", 32));
        stage.revise([ratchet], { statuses: ["OK"], key: old });
        stage.revise([ratchet], { expect: "OK", statuses: ["OK"], key: old });
        const far: Command = { code: 5, target: 2, fresh: random("far", 32) };
        stage.revise([far, query], { expect: "OK", statuses: ["BAD_RATCHET", "OK"], key: old });
        stage.revise([{ code: 5, target: 0, fresh: zeros(32) }], {
          expect: "OK",
          statuses: ["OK"],
          key: old,
        });
        client.settle();
        stage.revise([query], { statuses: ["OK"] });
        stage.control(client.seal(old, stage.nextRevision(), [query], DOWN), "UNKNOWN_EPOCH");
        stage.revise([{ code: 5, target: 1, fresh: zeros(32) }], { expect: "OK", statuses: ["OK"] });
        stage.revise([{ code: 5, target: 3, fresh: zeros(32) }], { expect: "OK", statuses: ["BAD_RATCHET"] });
        const again = client.ratchet(random("fresh 2", 32));
        stage.revise([again], { statuses: ["OK"], key: client.base() });
        stage.restart();
        stage.expectAck(["OK"]);
      },
    ),
    script("device: applies a ratchet in the payload that proves the one before [C-16]", (stage) => {
      const { client } = stage;
      const a = client.ratchet(random("a", 32));
      stage.revise([a], { statuses: ["OK"], key: client.base() });
      client.settle();
      const under = client.base();
      const b = client.ratchet(random("b", 32));
      stage.revise([b], { statuses: ["OK"], key: under });
    }),
    script(
      "device: applies a higher revision, repeats an equal one, refuses a lower one [C-5, C-6, C-7]",
      (stage) => {
        const given = stage.give(generation);
        const { client } = stage;
        const drop: Command = { code: 3, channel: given.parameters.id };
        const other: Command = { code: 8, nonce: random("other", 8) };
        stage.control(client.seal(client.base(), stage.revision, [drop, query, other], DOWN), "OK");
        stage.expectAck(["OK", "OK"]);
        stage.write(given, text(1), "OK");
        stage.control(client.seal(client.base(), stage.revision - 1n, [drop], DOWN), "OLD_REVISION");
        stage.control(client.seal(client.base(), revisionOf(0, 0xffffffff), [drop], DOWN), "OLD_REVISION");
        stage.control(client.seal(client.base(), revisionOf(2, 0), [drop], DOWN), "STORE_BLOB");
        const pending = {
          call: "unprotect",
          channel: given.id,
          payload: "",
          topic: TOPIC,
          stored: false,
        } as const;
        stage.call(pending, "PENDING");
        stage.call({ call: "ack", topic: "u" }, "PENDING");
        stage.call({ call: "saveBlob", sequence: stage.sequence }, "BAD_ARGUMENT");
        stage.save();
        stage.call(pending, "NO_CHANNEL");
        stage.expectAck(["OK"]);
      },
    ),
    script(
      "device: refuses control payloads that are not 1 to 8 frames of one revision [C-1, C-2, C-3, C-4]",
      (stage) => {
        const { client } = stage;
        const key = client.base();
        const seal = (n: number) => client.seal(key, stage.revision + 1n, Array(n).fill(query), DOWN);
        const good = seal(2);
        stage.control(zeros(0), "BAD_LENGTH");
        stage.control(good.slice(0, 127), "BAD_LENGTH");
        stage.control(concat(good, u8(0)), "BAD_LENGTH");
        stage.control(seal(9), "BAD_LENGTH");
        stage.control(tampered(good, 0, 0x10), "BAD_FORM");
        stage.control(tampered(good, 128, 4), "BAD_FORM");
        stage.control(tampered(good, 1, 0x20), "UNKNOWN_EPOCH");
        stage.control(tampered(good, 1, 0x10), "UNKNOWN_EPOCH");
        stage.control(tampered(good, 1, 0x02), "UNKNOWN_EPOCH");
        stage.control(tampered(good, 1, 0x01), "NO_SESSION");
        stage.control(tampered(good, 2), "BAD_PART");
        stage.control(tampered(good, 4), "BAD_PART");
        stage.control(tampered(good, 129), "BAD_PART");
        stage.control(tampered(good, -1), "BAD_TAG");
        stage.control(good, "BAD_TAG", `${DOWN}x`);
        stage.control(good.slice(0, 128), "BAD_PART");
        stage.control(good.slice(128), "BAD_PART");
        stage.control(concat(good.slice(128), good.slice(0, 128)), "BAD_PART");
        const one = concat(zeros(8), packCommand(query));
        stage.control(sealChunks(key, [one, tampered(one, 0)], DOWN), "BAD_PART");
        stage.control(sealChunks(key, [zeros(7)], DOWN), "BAD_PART");
        stage.control(seal(8), "OK");
        stage.control(good, "OK");
      },
    ),
    script(
      "device: answers BAD_COMMAND to unknown codes and wrong lengths, and applies the others [C-3, C-5]",
      (stage) => {
        const bodies = [
          zeros(0),
          u8(0),
          u8(9),
          concat(u8(8), zeros(7)),
          concat(u8(8), zeros(9)),
          concat(u8(1), zeros(43)),
          concat(u8(3), zeros(9)),
          u16(4),
          concat(u8(2), zeros(12), u8(0)),
          concat(u8(2), zeros(12), u8(1), zeros(17)),
          concat(u8(2), zeros(12), u8(5), zeros(82)),
          concat(u8(5), zeros(35)),
          concat(u8(6), zeros(25)),
          concat(u8(7), zeros(23)),
        ];
        for (const revision of [1, 2]) {
          const some = bodies.slice(revision * 7 - 7, revision * 7);
          const chunks = [...some, packCommand(query)].map((body) => concat(u8(revision), zeros(7), body));
          stage.control(sealChunks(stage.key, chunks, DOWN), "OK");
          stage.expectAck([...some.map(() => "BAD_COMMAND" as const), "OK"]);
        }
      },
    ),
    script("device with storage: refuses sessions and grants [C-4, C-20, C-21]", (stage) => {
      const { parameters } = stage.give(generation);
      const session: Command = { code: 6, bootNonce: zeros(8), random: zeros(16) };
      const grant: Command = {
        code: GRANT_COUNTERS,
        channel: parameters.id,
        generation: 7,
        step: 0,
        sender: 1,
        first: 0,
        end: 9,
      };
      stage.revise([session, grant], { expect: "OK", statuses: ["BAD_COMMAND", "BAD_COMMAND"] });
    }),
    script(
      "device without storage: takes a single grant session at step 0, everything else at step 1, and says hello in the session when it heard the server there since the last one [C-4, C-18, C-20]",
      (stage) => {
        const { client } = stage;
        stage.call({ call: "hello", topic: "u", want: hex(zeros(8)) }, "OK");
        stage.call({ call: "ack", topic: "u" }, "NO_SESSION");
        stage.control(client.seal(client.base(), stage.nextRevision(), [query], DOWN), "NO_SESSION");
        const session = client.grant(random("wrong boot", 8), random("r", 16));
        const wrong = client.sessionKey() ?? client.base();
        stage.control(client.seal(client.base(), stage.revision, [session, query], DOWN), "NO_SESSION");
        stage.control(client.seal(client.base(), stage.revision, [session], DOWN), "BAD_SESSION");
        stage.call({ call: "ack", topic: "u" }, "NO_SESSION");
        stage.control(client.seal(wrong, stage.nextRevision(), [query], DOWN), "NO_SESSION");
        stage.grantSession();
        stage.call({ call: "hello", topic: "u", want: hex(zeros(8)) }, "OK");
        const given = stage.give(generation);
        for (let i = 0; i < 2; i++) stage.call({ call: "hello", topic: "u", want: hex(zeros(8)) }, "OK");
        stage.call({ call: "ack", topic: "u" }, "OK");
        stage.control(client.seal(client.base(), stage.nextRevision(), [query], DOWN), "NO_SESSION");
        stage.revise([session], { statuses: ["BAD_COMMAND"] });
        stage.revise([client.ratchet(zeros(32))], { statuses: ["BAD_RATCHET"] });
        stage.call({ call: "saveBlob", sequence: 1 }, "BAD_ARGUMENT");
        stage.read(given, stage.payload(given, first(), text(1)), "OK");
        stage.read(given, stage.payload(given, first(), text(1)), "REPLAYED");
        stage.grantSession();
        stage.read(given, stage.payload(given, first(), text(1)), "NO_CHANNEL");
        stage.restart();
        stage.call({ call: "ack", topic: "u" }, "NO_SESSION");
      },
      BOOTING,
    ),
    script("device: tells the server what it holds in ack and hello [C-17, C-18, C-19]", (stage) => {
      stage.call({ call: "hello", topic: "u", want: hex(zeros(8)) }, "OK");
      stage.give(generationOf(0));
      const { parameters } = stage.give(generationOf(3), { t: 8, will: 9 });
      stage.revise([query], { expect: "OK", statuses: ["OK"] });
      stage.call({ call: "hello", topic: "u", want: hex(parameters.id) }, "OK");
    }),
  ];
}

/** Parameters of a channel that no script has set yet. */
function stageParameters(suite: number, changes: Partial<Parameters> = {}): Parameters {
  const generation = generationOf(suite);
  const { scope } = generation;
  const form = suite << 2;
  return {
    id: scope.id,
    generation: scope.generation,
    step: 0,
    from: 0,
    open: 0,
    to: 127,
    form,
    size: 64,
    la: 0x12,
    flags: 0,
    sender: 1,
    will: 0,
    v: generation.v(0),
    ...changes,
  };
}

export function blobScripts(): Script[] {
  return [
    script(
      "blob: brings back channels, rows, keys and ack after a restart [T-2, T-3, T-4, T-6, W-6]",
      (stage) => {
        const a = stage.give(generationOf(0), { will: 2 });
        const b = stage.give(generationOf(3), { step: 9, to: 255 });
        stage.give(generationOf(0, 8), { will: 4, flags: 0x80, sender: 3 });
        stage.revise([stage.client.ratchet(random("f", 32))], { statuses: ["OK"], key: stage.client.base() });
        for (let sender = 20; sender < 24; sender++) {
          stage.read(a, stage.payload(a, first(0, sender, sender), text(1)), "OK");
          stage.read(b, stage.payload(b, first(9, sender, sender), text(1)), "OK");
        }
        stage.read(b, stage.payload(b, first(9, 0, 0), text(1)), "OK");
        stage.write(b, text(1), "OK");
        stage.save();
        stage.restart("OK", stage.slots, []);
        stage.expectAck(["OK"]);
        stage.write(b, text(1), "OK");
        for (let sender = 20; sender < 24; sender++) {
          stage.read(a, stage.payload(a, first(0, sender, sender), text(1)), "REPLAYED");
          stage.read(b, stage.payload(b, first(9, sender + 1, sender), text(1)), "OK");
        }
      },
    ),
    script(
      "blob: the valid slot of the higher sequence counts, and a torn one only delays [T-6, T-7, T-8]",
      (stage) => {
        const given = stage.give(generationOf(0), { flags: 0x08 });
        stage.read(given, stage.payload(given, first(0, 10), text(1)), "OK");
        stage.write(given, text(1), "OK");
        const low = stage.save();
        const high = stage.save();
        stage.restart("OK", [high, low], []);
        stage.restart("OK", [low, high.slice(0, -1)], []);
        stage.read(given, stage.payload(given, first(0, 41), text(1)), "REPLAYED");
        stage.read(given, stage.payload(given, first(0, 42), text(1)), "OK");
        stage.write(given, text(1), "OK");
      },
    ),
    script(
      "blob: a device without any valid slot is lost, and one with blank slots is new [T-8]",
      (stage) => {
        const given = stage.give(generationOf(0));
        const blob = stage.slots[1];
        stage.restart("OK", [zeros(0), new Uint8Array(64).fill(0xff)]);
        stage.write(given, text(1), "NO_CHANNEL");
        for (const offset of [0, 4, 5, 6, 8, 12, 16, 40, 130, -1]) {
          stage.restart("OK", [tampered(blob, offset), blob]);
          stage.restart("OK", [tampered(blob, offset), zeros(0)]);
        }
        stage.restart("BAD_RECORD", [tampered(blob, 20), tampered(blob, -20)]);
        stage.call({ call: "tick" }, "NO_IDENTITY");
      },
    ),
    script("blob: a sequence is never used twice [T-7]", (stage) => {
      stage.call({ call: "saveBlob", sequence: 0 }, "BAD_ARGUMENT");
      stage.call({ call: "saveBlob", sequence: 5 }, "STORE_BLOB");
      stage.confirm();
      stage.call({ call: "saveBlob", sequence: 5 }, "BAD_ARGUMENT");
      stage.call({ call: "saveBlob", sequence: 7 }, "STORE_BLOB");
      stage.confirm(false);
      stage.call({ call: "saveBlob", sequence: 8 }, "STORE_BLOB");
      stage.call({ call: "saveBlob", sequence: 9 }, "BAD_ORDER");
      stage.confirm();
    }),
  ];
}

export function markScripts(): Script[] {
  const rooms: [number, number][] = [
    [0x00, 1],
    [0x08, 16],
    [0x10, 64],
  ];
  const bounds = rooms.map(([flags, room]) =>
    script(
      `mark: a device stores a bound ${room} past the counter before it releases text [W-5, R-10, T-5]`,
      (stage) => {
        const given = stage.give(generationOf(0), { flags });
        stage.begin(given, stage.payload(given, first(), text(1)));
        stage.confirm(false);
        stage.read(given, stage.payload(given, first(), text(1)), "OK");
        if (room > 1) stage.read(given, stage.payload(given, first(0, room - 1), text(1)), "OK");
        stage.begin(given, stage.payload(given, first(0, room), text(1)));
        stage.confirm();
        stage.begin(given, stage.payload(given, first(0, 65535), text(1)));
        stage.confirm();
        stage.begin(given, stage.payload(given, first(1), text(1)));
        stage.confirm();
        stage.read(given, stage.payload(given, first(0, 65534), text(1)), "OK");
      },
    ),
  );
  return [
    ...bounds,
    script("mark: after a restart all below the bound is closed, and older epochs [W-6, T-6]", (stage) => {
      const given = stage.give(generationOf(0), { step: 2, flags: 0x08 });
      stage.read(given, stage.payload(given, first(1, 70), text(1)), "OK");
      stage.read(given, stage.payload(given, first(2, 70), text(1)), "OK");
      stage.restart();
      stage.read(given, stage.payload(given, first(2, 85), text(1)), "REPLAYED");
      stage.read(given, stage.payload(given, first(2, 22), text(1)), "REPLAYED");
      stage.read(given, stage.payload(given, first(2, 21), text(1)), "CLOSED");
      stage.read(given, stage.payload(given, first(2, 86), text(1)), "OK");
      stage.read(given, stage.payload(given, first(1, 99), text(1)), "CLOSED");
      stage.read(given, stage.payload(given, first(3, 0), text(1)), "OK");
    }),
    script(
      "mark: own and will marks count for the same generation and sender, peers' where held, one that was cut off does not [T-6, T-8]",
      (stage) => {
        const given = stage.give(generationOf(0), { sender: 3, will: 4 });
        const { id, generation } = given.parameters;
        const of = (mark: Partial<storage.Mark>, number: number) =>
          storage.sealMark(
            KEEPER,
            { channel: id, generation, bound: 500, step: 0, sender: 3, what: 0, ...mark },
            1,
            number,
          );
        const marks = [
          of({}, 4),
          of({ bound: 600, generation: 6 }, 5),
          of({ bound: 700, sender: 5 }, 6),
          of({ bound: 400 }, 7),
          of({ what: 1, sender: 4, bound: 50 }, 8),
          of({ what: 1, sender: 3, bound: 60 }, 9),
          of({ what: 2, sender: 8, bound: 70 }, 10),
          of({ what: 2, sender: 8, bound: 60 }, 11),
          of({ what: 2, sender: 8, bound: 90, generation: 6 }, 12),
          of({ channel: random("gone", 8), bound: 900 }, 13),
          concat(of({ bound: 800 }, 14).slice(0, 40), new Uint8Array(8).fill(0xff)),
          of({ bound: 800 }, 15).slice(1),
        ];
        stage.restart("OK", stage.slots, marks);
        stage.write(given, text(1), "OK");
        stage.write(given, text(1), "OK", { will: true });
        stage.read(given, stage.payload(given, first(0, 69, 8), text(1)), "REPLAYED");
        stage.read(given, stage.payload(given, first(0, 70, 8), text(1)), "OK");
      },
    ),
    script(
      "mark: a broken one shuts every channel, in any suite and generation it may have covered, until it is set anew [T-8, V-11]",
      (stage) => {
        const old = stage.give(generationOf(0), { flags: 0x02 });
        const given = stage.give(generationOf(0, 8), { flags: 0x82, sender: 3 });
        const other = stage.give(generationOf(3));
        const { id } = given.parameters;
        stage.read(given, stage.payload(given, first(1), text(1)), "OK");
        stage.restart("OK", stage.slots, [tampered(stage.marks[0] as Bytes, 20)]);
        stage.sequence++;
        const isShut = (step: number): void => {
          stage.write(given, text(1), "HOLD");
          stage.write(other, text(1), "HOLD");
          stage.read(given, stage.payload(given, first(step), text(1)), "CLOSED");
          stage.read(given, stage.payload(given, first(step + 2, 9), text(1)), "CLOSED", { stored: true });
          stage.read(other, stage.payload(other, first(0), text(1)), "CLOSED");
          stage.call({ call: "ack", topic: "u" }, "OK");
        };
        isShut(1);
        stage.read(old, stage.payload(old, first(1), text(1)), "CLOSED");
        stage.move(given, 20);
        stage.save();
        const torn = tampered(stage.slots[0], 40);
        stage.restart("OK", [torn, stage.slots[1]], []);
        stage.sequence++;
        isShut(20);
        const next = stage.give(generationOf(0, 9), { flags: 0x82, sender: 4 });
        stage.read(given, stage.payload(given, first(20), text(1)), "UNKNOWN_EPOCH");
        stage.read(next, stage.payload(next, first(0), text(1)), "OK");
        stage.write(next, text(1), "OK");
        stage.write(other, text(1), "HOLD");
        stage.revise([{ code: 3, channel: other.parameters.id }], { statuses: ["OK"] });
        stage.write(stage.give(generationOf(3), { sender: 9 }), text(1), "OK");
        stage.call({ call: "ack", topic: "u" }, "OK");
        if (hex(id) !== next.id) throw new Error("another channel");
      },
    ),
    script("blob: a sequence that a torn slot may have had is not used again [T-7]", (stage) => {
      stage.give(generationOf(0));
      const good = stage.slots[1];
      const { sequence } = stage;
      const torn = (sequence: number) => concat(good.slice(0, 8), u32(sequence), good.slice(12, 600));
      const first = (found: number, expect: number): void => {
        stage.restart("OK", [torn(found), good], []);
        stage.call({ call: "saveBlob", sequence: expect - 1 }, "BAD_ARGUMENT");
        stage.call({ call: "saveBlob", sequence: expect }, "STORE_BLOB");
        stage.confirm(false);
      };
      first(sequence + 1, sequence + 2);
      first(sequence + 2, sequence + 3);
      first(sequence + 65536, sequence + 65537);
      // Not one of ours.
      first(sequence + 65537, sequence + 2);
      first(0xffffffff, sequence + 2);
      first(sequence - 1, sequence + 2);
    }),
  ];
}
