// What an act works with, and the few things several acts do.

import { setTimeout as sleep } from "node:timers/promises";
import type { DeviceProcess, ReportOf } from "./fleet.ts";
import type { Ledger } from "./ledger.ts";
import { METRICS } from "./metrics.ts";
import type { Screen } from "./screen.ts";
import type { CommandResult, Stage } from "./stage.ts";

/** Members from the beginning: those that measure, and one that reads. */
export const FLEET: readonly string[] = [...METRICS, "desk"];
export const LATECOMER = "guest";
/** The member that is taken out in the end. */
export const OUTCAST = "network";
/** How long an answer over the broker may take before it counts as absent. */
export const PATIENCE_MS = 60_000;

export interface Scene {
  stage: Stage;
  screen: Screen;
  ledger: Ledger;
  /** Factor of all pauses. */
  pace: number;
}

export interface Act {
  heading: string;
  sentence: string;
  play(scene: Scene): Promise<void>;
}

/** Time for a person to look. */
export function pause({ pace }: Scene, ms: number): Promise<void> {
  return listen(ms * pace);
}

/** Time for things to happen; does not keep a process alive that is being stopped. */
export async function listen(ms: number): Promise<void> {
  await sleep(ms, undefined, { ref: false });
}

/** Says whether something came true, and remembers it for the summary. */
export function expect({ ledger, screen }: Scene, passed: boolean, text: string): boolean {
  screen.verdict(passed, text);
  return ledger.expect(passed, text);
}

/** Runs and shows a command as it would be typed in the realm's directory; throws if it fails. */
export async function command(scene: Scene, ...args: string[]): Promise<CommandResult> {
  const words = args.map((word) => word.replace(`${scene.stage.directory}/`, ""));
  scene.screen.command(`ampoule ${words.map(shown).join(" ")}`);
  return quietly(scene, ...args);
}

/** The same without showing it. */
export async function quietly({ stage }: Scene, ...args: string[]): Promise<CommandResult> {
  const result = await stage.ampoule(...args, "--realm", stage.realm);
  if (result.exit !== 0) throw new Error(`ampoule ${args.join(" ")}: ${result.err.trim()}`);
  return result;
}

function shown(word: string): string {
  return /^[\w./=:-]+$/.test(word) ? word : `'${word}'`;
}

export function device({ stage }: Scene, name: string): DeviceProcess {
  const found = stage.devices.get(name);
  if (found === undefined) throw new Error(`no device ${name}`);
  return found;
}

/** Newest keys a device has reported; undefined while it holds none. */
export function held(member: DeviceProcess): NonNullable<ReportOf<"keys">["held"]> | undefined {
  return member.since(0, "keys").at(-1)?.held ?? undefined;
}

/** Shows what desk has read beside the bytes that carried it. */
export async function showReads(scene: Scene, reads: ReportOf<"read">[]): Promise<void> {
  for (const read of reads) {
    const bytes = await carrierOf(scene, read);
    if (bytes !== undefined) scene.screen.pair(`${nameOf(read.topic).padEnd(8)} ${read.text}`, bytes);
  }
}

export function nameOf(topic: string): string {
  return topic.split("/")[1] ?? topic;
}

/** The bytes on the wire that carried a message somebody read. */
export function frameOf({ stage }: Scene, read: ReportOf<"read">): Buffer | undefined {
  const hint = hintOf(read.generation, read.step);
  return stage.tap.seen.find(
    ({ topic, payload }) =>
      topic === read.topic &&
      payload.length >= 6 &&
      payload.readUInt8(1) === hint &&
      payload.readUInt16LE(2) === read.sender &&
      payload.readUInt16LE(4) === read.counter,
  )?.payload;
}

/** The same, waited for: whoever listens at the broker may hear of a message later than those who read it. */
export async function carrierOf(scene: Scene, read: ReportOf<"read">): Promise<Buffer | undefined> {
  await seen(() => frameOf(scene, read) !== undefined);
  return frameOf(scene, read);
}

/** Waits for what shows on the wire. */
export async function seen(test: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!test() && performance.now() < end) await listen(20);
}

/** The epoch hint of a frame (SPEC section 6). */
export function hintOf(generation: number, step: number): number {
  return (generation % 16) * 16 + (step % 16);
}

/** Equal for two reports of one message. */
export function positionOf({ topic, sender, generation, step, counter }: ReportOf<"read">): string {
  return `${topic} ${sender} ${generation} ${step} ${counter}`;
}

/** "1.2 s", from a time of performance.now(). */
export function elapsed(from: number): string {
  const ms = performance.now() - from;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
