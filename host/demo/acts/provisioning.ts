import { readFileSync, statSync } from "node:fs";
import { type Act, command, expect, FLEET, LATECOMER, quietly, type Scene } from "../scene.ts";

export const provisioning: Act = {
  heading: "Provisioning",
  sentence: "A realm is made, and each device gets an identity file with a key of its own.",
  async play(scene: Scene): Promise<void> {
    const { stage, screen } = scene;
    const made = await stage.ampoule("init", stage.realm, "--prefix", stage.prefix);
    screen.command("ampoule init");
    if (made.exit !== 0) throw new Error(made.err.trim());
    screen.faint(made.out.split("\n", 1)[0] ?? "");
    const names = [...FLEET, LATECOMER];
    for (const [at, name] of names.entries()) {
      const run = at < 2 ? command : quietly;
      await run(scene, "provision", name, "-o", stage.identity(name));
    }
    screen.faint(`and so on: ${names.slice(2).join(", ")}`);
    const keys = new Set(names.map((name) => keyOf(stage.identity(name))));
    expect(scene, keys.size === names.length, `${names.length} identities, ${keys.size} different keys`);
    const open = names.filter((name) => process.platform !== "win32" && isOpen(stage.identity(name)));
    expect(scene, open.length === 0, "no other user can read the identity files");
  },
};

function keyOf(path: string): string {
  return (JSON.parse(readFileSync(path, "utf8")) as { key: string }).key;
}

function isOpen(path: string): boolean {
  return (statSync(path).mode & 0o077) !== 0;
}
