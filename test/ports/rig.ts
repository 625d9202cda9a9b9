// A plant with machines in it: a real Mosquitto, a real key server, members in this process, and emulated
// boards that reach the broker through `ampoule bridge` and a serial line.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "../../host/bytes.ts";
import type { Identity } from "../../host/store/store.ts";
import { buildPort, type EngineName, type Machine, PROGRAMS, type Program } from "../../scripts/ports.ts";
import { type Job, Shell } from "../cli/support.ts";
import { type Member, Plant, type Spy, until } from "../mqtt/plant.ts";
import { startMosquitto } from "../support/brokers.ts";
import { Board, provisionFlash } from "./machine.ts";

export const LIVE = "plant/+/live";
export const ORDERS = "plant/+/orders";

/** The live program, busier than by default. */
export function buildLive(machine: Machine, engine: EngineName = "aot"): string {
  const { sources } = PROGRAMS.live as Program;
  return buildPort(machine, "live-fast", engine, { sources, flags: ["-DLIVE_MS=60u"] });
}

export interface BoardOptions {
  engine?: EngineName;
  /** Its line is a serial port of this machine, not a socket. */
  isPort?: boolean;
}

/** A machine with its identity, its bridge, and the topics it knows. */
export interface LiveBoard {
  readonly name: string;
  readonly identity: Identity;
  readonly board: Board;
  readonly bridge: Job;
  readonly live: string;
  readonly orders: string;
}

export class Rig implements AsyncDisposable {
  readonly plant: Plant;
  readonly desk: Member;
  readonly spy: Spy;
  readonly #shell = new Shell();
  readonly #dir: string;
  readonly #boards: Board[] = [];

  private constructor(plant: Plant, desk: Member, spy: Spy) {
    this.plant = plant;
    this.desk = desk;
    this.spy = spy;
    this.#dir = mkdtempSync(join(tmpdir(), "ampoule-ports-"));
  }

  /** Both channels, and a desk that reads what boards say and gives them orders. */
  static async open(): Promise<Rig> {
    const plant = new Plant(await startMosquitto());
    plant.channel(LIVE, { frameSize: 64 });
    plant.channel(ORDERS, { frameSize: 64, markBlock: 1 });
    const desk = await plant.member("desk", [LIVE, ORDERS]);
    await desk.mqtt.subscribeAsync(LIVE, { qos: 1 });
    return new Rig(plant, desk, await plant.spy());
  }

  /** Provisions a board, grants it both channels, starts its bridge, and switches it on. */
  async add(machine: Machine, options: BoardOptions = {}): Promise<LiveBoard> {
    const { server, broker } = this.plant;
    const identity = server.provision(machine);
    const board = new Board(machine, this.#dir, buildLive(machine, options.engine), options.isPort);
    provisionFlash(machine, board.flash, identity);
    server.grant(LIVE, machine);
    server.grant(ORDERS, machine);
    this.#boards.push(board);
    await board.on();
    const bridge = await this.#startBridge(board, broker.url);
    const id = toHex(identity.device);
    return { name: machine, identity, board, bridge, live: `plant/${id}/live`, orders: `plant/${id}/orders` };
  }

  /** The bridge needs a line that is there when it starts. */
  async #startBridge(board: Board, url: string): Promise<Job> {
    for (let attempt = 0; ; ++attempt) {
      const job = this.#shell.start("bridge", "--serial", board.serial, "--url", url, "--json");
      try {
        await job.until(({ out }) => out.includes('"kind":"line"'), "the line");
        return job;
      } catch (error) {
        if (attempt === 5) throw error;
      }
    }
  }

  /** Texts of one board that the desk has read. */
  texts({ live }: LiveBoard): string[] {
    return this.desk.texts
      .filter((text) => text.startsWith(`${live}=`))
      .map((text) => text.slice(live.length + 1));
  }

  order({ orders }: LiveBoard, text: string): Promise<unknown> {
    return this.desk.mqtt.publishAsync(orders, text, { qos: 1 });
  }

  /** Waits until `board` has answered an order. */
  took(board: LiveBoard, order: string): Promise<void> {
    return until(`${board.name} to take ${order}`, () => this.texts(board).includes(`took ${order}`));
  }

  inSync({ name }: LiveBoard): boolean {
    return this.plant.server.status().find((device) => device.name === name)?.state === "in sync";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const board of this.#boards) await board.cutPower();
    await this.#shell[Symbol.asyncDispose]();
    await this.plant.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
