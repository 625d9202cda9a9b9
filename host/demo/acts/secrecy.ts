import { type Act, expect, type Scene } from "../scene.ts";
import { PLAIN } from "../wire.ts";

export const secrecy: Act = {
  heading: "What the broker knows",
  sentence: "Every text that was sent is looked for in everything the broker has written down.",
  async play(scene: Scene): Promise<void> {
    const { stage, screen } = scene;
    const log = stage.readLog();
    const carried = log.split("\n").map((line) => line.slice(line.lastIndexOf(" ") + 1));
    const bytes = carried.reduce((sum, hex) => sum + hex.length / 2, 0);
    const texts = new Set<string>();
    for (const member of stage.devices.values()) {
      for (const { text } of member.since(0, "sent")) texts.add(text);
    }
    const everything = carried.join("\n");
    const found = [...texts].filter((text) => everything.includes(Buffer.from(text).toString("hex")));
    screen.line(
      `${carried.length - 1} messages, ${Math.round(bytes / 1000)} kB; ${texts.size} different texts`,
    );
    // The attacker's own words passed unsealed: a search that missed them would prove nothing.
    const control = everything.includes(Buffer.from(PLAIN).toString("hex"));
    expect(scene, control, `the search works: it finds the attacker's ${JSON.stringify(PLAIN)}`);
    expect(scene, texts.size > 0 && found.length === 0, `texts of members found: ${found.length}`);
  },
};
