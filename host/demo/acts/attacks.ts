import { plain } from "../ledger.ts";
import { type Act, carrierOf, device, expect, nameOf, PATIENCE_MS, pause, type Scene } from "../scene.ts";
import { PLAIN } from "../wire.ts";

interface Attack {
  what: string;
  status: string;
  make(frame: Buffer): Buffer;
}

/** Offsets in a frame (SPEC section 6). */
const SENDER_AT = 2;
const COUNTER_AT = 4;
/** Far beyond what was sent: the window has nothing against it, so that the tag must. */
const LATER = 5000;

const ATTACKS: Attack[] = [
  { what: "the same bytes again", status: "REPLAYED", make: (frame) => frame },
  { what: "the same with a later number", status: "BAD_TAG", make: renumbered },
  {
    what: "and in the name of another sender",
    status: "BAD_TAG",
    make: (frame) => renamed(renumbered(frame)),
  },
  { what: "cut short", status: "BAD_LENGTH", make: (frame) => frame.subarray(0, frame.length - 1) },
  { what: "plain text", status: "BAD_LENGTH", make: () => Buffer.from(PLAIN) },
];

export const attacks: Act = {
  heading: "Replays and forgeries",
  sentence: "Someone at the broker publishes recorded and altered messages; desk names what is wrong.",
  async play(scene: Scene): Promise<void> {
    const { screen, stage } = scene;
    const desk = device(scene, "desk");
    screen.columns("desk refuses", "somebody publishes");
    for (const attack of ATTACKS) {
      const victim = desk.since(0, "read").findLast(({ topic }) => topic === stage.topic("cpu"));
      const frame = victim === undefined ? undefined : await carrierOf(scene, victim);
      if (victim === undefined || frame === undefined) throw new Error("nothing was recorded");
      await play(scene, attack, victim.topic, frame);
      await pause(scene, 250);
    }
  },
};

async function play(scene: Scene, attack: Attack, topic: string, frame: Buffer): Promise<void> {
  const { screen, stage } = scene;
  const desk = device(scene, "desk");
  const mark = desk.mark;
  const bytes = attack.make(Buffer.from(frame));
  await stage.tap.inject(topic, bytes);
  const refusals = (): string[] =>
    desk.since(mark, "refused").flatMap((refusal) => (refusal.topic === topic ? refusal.status : []));
  await desk.until(() => refusals().length > 0, PATIENCE_MS);
  const said = refusals()[0] ?? "OK";
  screen.refusal(`${nameOf(topic).padEnd(8)} ${plain(said)}`, bytes);
  expect(scene, said === attack.status, `${attack.what}: refused (${plain(attack.status)})`);
}

function renumbered(frame: Buffer): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt16LE(copy.readUInt16LE(COUNTER_AT) + LATER, COUNTER_AT);
  return copy;
}

function renamed(frame: Buffer): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt16LE(copy.readUInt16LE(SENDER_AT) + 1, SENDER_AT);
  return copy;
}
