/** One short script for each status of SPEC section 14 that bytes from outside can cause. */

import { concat, hex, zeros } from "./bytes.ts";
import type { Command } from "./control.ts";
import { padText, sealFrame } from "./frame.ts";
import type { Script } from "./script.ts";
import { revisionOf, type Writer } from "./server.ts";
import {
  adOf,
  BOOTING,
  DOWN,
  framesOf,
  type Given,
  generationOf,
  random,
  STORING,
  Stage,
  TOPIC,
  tampered,
} from "./stage.ts";
import type { StatusName } from "./status.ts";
import { seal } from "./suites.ts";

export interface Refusal {
  status: StatusName;
  /** Where the status shows: in the outcome of the last call, or in the statuses that its ack carries. */
  shows: "outcome" | "ack";
  script: Script;
}

const TEXT = zeros(3);
const writer = (counter = 0, step = 0, sender = 9): Writer => ({ sender, step, counter });
const QUERY: Command = { code: 8, nonce: random("query", 8) };

function outcome(
  status: StatusName,
  title: string,
  play: (stage: Stage) => void,
  options = STORING,
): Refusal {
  const stage = new Stage(`device: answers ${status} to ${title}`, options);
  play(stage);
  const script = stage.script();
  if (script.calls.at(-1)?.gives.status !== status) throw new Error(`${title} does not end with ${status}`);
  return { status, shows: "outcome", script };
}

function inAck(
  status: StatusName,
  title: string,
  play: (stage: Stage) => Command,
  options = STORING,
): Refusal {
  const stage = new Stage(`device: answers ${status} in its ack to ${title}`, options);
  if (options.class !== 0) stage.grantSession();
  const command = play(stage);
  stage.revise([command], { expect: "OK", statuses: [status] });
  return { status, shows: "ack", script: stage.script() };
}

function badPadding(given: Given): Uint8Array {
  const { generation, parameters } = given;
  const { form, size } = parameters;
  const { sender, step, counter } = writer();
  const position = { form, size, sender, generation: generation.scope.generation, step, counter };
  const key = generation.key(step, sender);
  const ad = adOf(parameters, TOPIC);
  const { frame, nonce } = sealFrame(position, key, ad, 0x80, TEXT);
  const raw = padText(0xc0, TEXT, size - 22);
  const { cipher, tag } = seal(generation.scope.suite, key, nonce, ad.bytes, raw, 16);
  return concat(frame.slice(0, 6), cipher, tag);
}

export function refusals(): Refusal[] {
  const generation = generationOf(0);
  const given = (stage: Stage) => stage.give(generation);
  const read = (stage: Stage, to: Given, payload: Uint8Array, status: StatusName, stored = false) =>
    stage.read(to, payload, status, { stored });
  const parametersIn = (stage: Stage) => given(stage).parameters;
  return [
    outcome("BAD_TAG", "a changed tag [R-8]", (stage) => {
      const to = given(stage);
      read(stage, to, tampered(stage.payload(to, writer(), TEXT), -1), "BAD_TAG");
    }),
    outcome("BAD_LENGTH", "a frame without its last byte [R-1]", (stage) => {
      const to = given(stage);
      read(stage, to, stage.payload(to, writer(), TEXT).slice(0, 63), "BAD_LENGTH");
    }),
    outcome("BAD_FORM", "a frame of another suite [R-1]", (stage) => {
      const to = given(stage);
      read(stage, to, tampered(stage.payload(to, writer(), TEXT), 0, 4), "BAD_FORM");
    }),
    outcome("NO_CHANNEL", "a frame of a channel it does not hold [R-1]", (stage) => {
      const to = { ...given(stage), id: hex(random("none", 8)) };
      read(stage, to, stage.payload(to, writer(), TEXT), "NO_CHANNEL");
    }),
    outcome("UNKNOWN_EPOCH", "a frame of the generation before, when none is kept [R-2]", (stage) => {
      const to = given(stage);
      read(stage, to, tampered(stage.payload(to, writer(), TEXT), 1, 0x10), "UNKNOWN_EPOCH");
    }),
    outcome("NO_LEASE", "a frame of a step past its nodes [R-4]", (stage) => {
      const to = stage.give(generation, { to: 7 });
      read(stage, to, stage.payload(to, writer(0, 8), TEXT), "NO_LEASE");
    }),
    outcome("REFLECTED", "a frame of its own sender number [R-5]", (stage) => {
      const to = given(stage);
      read(stage, to, stage.payload(to, writer(0, 0, 1), TEXT), "REFLECTED");
    }),
    outcome("NO_ROOM", "a ninth sender [R-6]", (stage) => {
      const to = given(stage);
      for (let sender = 2; sender < 10; sender++) {
        read(stage, to, stage.payload(to, writer(0, 0, sender), TEXT), "OK");
      }
      read(stage, to, stage.payload(to, writer(0, 0, 10), TEXT), "NO_ROOM");
    }),
    outcome("REPLAYED", "a frame it has accepted [R-7, W-1]", (stage) => {
      const to = given(stage);
      const payload = stage.payload(to, writer(), TEXT);
      read(stage, to, payload, "OK");
      read(stage, to, payload, "REPLAYED");
    }),
    outcome("CLOSED", "a counter 64 below the highest [R-7, W-1]", (stage) => {
      const to = given(stage);
      read(stage, to, stage.payload(to, writer(64), TEXT), "OK");
      read(stage, to, stage.payload(to, writer(0), TEXT), "CLOSED");
    }),
    outcome("BUSY", "a 17th forged frame [R-14]", (stage) => {
      const to = given(stage);
      const forged = tampered(stage.payload(to, writer(), TEXT), -1);
      for (let i = 0; i < 16; i++) read(stage, to, forged, "BAD_TAG");
      read(stage, to, forged, "BUSY");
    }),
    outcome("BAD_PADDING", "an authentic text with bit 6 of its part [F-3]", (stage) => {
      const to = given(stage);
      read(stage, to, badPadding(to), "BAD_PADDING");
    }),
    outcome("BAD_PART", "the first frame of a message of two alone [R-9]", (stage) => {
      const to = given(stage);
      const [one] = framesOf(to, writer(), zeros(50)) as [Uint8Array];
      read(stage, to, one, "BAD_PART");
    }),
    outcome("NO_STORED_MODE", "a stored value on a channel without stored mode [R-11]", (stage) => {
      const to = given(stage);
      read(stage, to, stage.payload(to, writer(), TEXT), "NO_STORED_MODE", true);
    }),
    outcome("GAP", "the second part of a narrow message without its first [R-9]", (stage) => {
      const to = stage.give(generation, { flags: 0x04 });
      const [, two] = framesOf(to, writer(), zeros(50)) as [Uint8Array, Uint8Array];
      read(stage, to, two, "GAP");
    }),
    outcome("BAD_BEACON", "a beacon with a changed link [B-3]", (stage) => {
      const to = given(stage);
      stage.beacon(to, tampered(generation.beacon(0, 1), -1), "BAD_BEACON");
    }),
    outcome("OLD_BEACON", "the beacon of the current step [B-3]", (stage) => {
      stage.move(given(stage), 0, "OLD_BEACON");
    }),
    outcome("FAR_BEACON", "a beacon 257 steps ahead [B-3]", (stage) => {
      stage.move(given(stage), 257, "FAR_BEACON");
    }),
    outcome("OLD_REVISION", "the revision before [C-5]", (stage) => {
      given(stage);
      stage.control(stage.client.seal(stage.key, revisionOf(0, 9), [QUERY], DOWN), "OLD_REVISION");
    }),
    outcome("PENDING", "a frame while a revision waits to be stored [C-6]", (stage) => {
      const to = given(stage);
      const drop: Command = { code: 3, channel: to.parameters.id };
      stage.revise([drop], { statuses: ["OK"], save: false });
      read(stage, to, stage.payload(to, writer(), TEXT), "PENDING");
    }),
    outcome(
      "NO_SESSION",
      "a command other than grant session at step 0 [C-4]",
      (stage) => {
        stage.control(stage.client.seal(stage.key, revisionOf(1, 1), [QUERY], DOWN), "NO_SESSION");
      },
      BOOTING,
    ),
    outcome("BAD_RECORD", "two slots of which none verifies [T-8]", (stage) => {
      given(stage);
      const torn = tampered(stage.slots[1], -1);
      stage.restart("BAD_RECORD", [torn, torn]);
    }),
    inAck("BAD_COMMAND", "a channel with generation 0 [C-8]", (stage) => {
      return { code: 1, parameters: { ...parametersIn(stage), generation: 0 } };
    }),
    inAck("CHANNEL_FULL", "a fifth channel [C-9]", (stage) => {
      const parameters = parametersIn(stage);
      const set = (name: string): Command => ({
        code: 1,
        parameters: { ...parameters, id: random(name, 8) },
      });
      stage.revise(["second", "third", "fourth"].map(set), { statuses: ["OK", "OK", "OK"] });
      return set("fifth");
    }),
    inAck("LEASE_FULL", "a third node of 128 steps [K-6]", (stage) => {
      const { parameters } = stage.give(generation, { to: 255 });
      stage.revise([{ code: 1, parameters: { ...parameters, to: 511 } }], { statuses: ["OK"] });
      return { code: 2, channel: parameters.id, generation: 7, nodes: [generation.node(34)] };
    }),
    inAck("HELD", "a node it holds [K-5]", (stage) => {
      const { id } = parametersIn(stage);
      return { code: 2, channel: id, generation: 7, nodes: [generation.node(32)] };
    }),
    inAck("OLD_GENERATION", "a lower generation [C-12]", (stage) => {
      return { code: 1, parameters: { ...parametersIn(stage), generation: 6 } };
    }),
    inAck("BAD_CHANGE", "another frame size in the same generation [C-10]", (stage) => {
      return { code: 1, parameters: { ...parametersIn(stage), size: 72 } };
    }),
    inAck("BAD_NODE", "a node of 256 steps [K-6]", (stage) => {
      const { id } = stage.give(generation, { to: 255 }).parameters;
      return { code: 2, channel: id, generation: 7, nodes: [generation.node(16)] };
    }),
    inAck("BAD_RATCHET", "a ratchet two versions on [C-15]", () => ({
      code: 5,
      target: 2,
      fresh: random("fresh", 32),
    })),
    inAck(
      "BAD_SUITE",
      "a suite that its build lacks [C-8]",
      (stage) => ({ code: 1, parameters: { ...parametersIn(stage), form: 0x08, id: random("second", 8) } }),
      { ...STORING, suites: 0b0011 },
    ),
    badSession(),
  ];
}

// A grant of an older hello does not take the place of this boot's: its revision is not held.
function badSession(): Refusal {
  const stage = new Stage(
    "device: refuses a grant for another boot and takes its own after it [C-20]",
    BOOTING,
  );
  const { client } = stage;
  const wrong: Command = { code: 6, bootNonce: random("another boot", 8), random: random("r", 16) };
  const payload = client.seal(client.base(), revisionOf(1, 1000), [wrong], DOWN);
  stage.control(payload, "BAD_SESSION");
  stage.grantSession();
  stage.control(payload, "BAD_SESSION");
  return { status: "BAD_SESSION", shows: "outcome", script: stage.script() };
}
