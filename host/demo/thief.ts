// Somebody who copied a device's state while it was a member, and tells nobody: it obeys no command.

import { cpSync, existsSync } from "node:fs";
import { Client } from "../client/client.ts";
import { nodeWorld } from "../node-world.ts";
import { RefusedError } from "../status.ts";
import { DirectoryStore } from "../store/directory.ts";
import { engineOf } from "./engines.ts";
import type { FrameView } from "./tap.ts";

const STATE_FILES = ["slot-0", "slot-1", "marks"];

export class Thief {
  readonly #store: DirectoryStore;
  readonly #client: Client;

  /** Copies identity and state of a running device to `path`. */
  constructor(identity: string, path: string, engine: string, filter: string) {
    cpSync(identity, path);
    for (const name of STATE_FILES) {
      const file = `${identity}.state/${name}`;
      if (existsSync(file)) cpSync(file, `${path}.state/${name}`);
    }
    const world = nodeWorld();
    this.#store = new DirectoryStore(world, path);
    this.#client = new Client({ store: this.#store, world, engine: engineOf(engine), channels: [filter] });
  }

  /** Tries frames from the wire; "OK" for each it could read, else the refusal's name. */
  tryAll(frames: FrameView[]): string[] {
    return frames.map(({ topic, frame }) => {
      try {
        this.#client.unprotect(topic, frame);
        return "OK";
      } catch (error) {
        if (error instanceof RefusedError) return error.status;
        throw error;
      }
    });
  }

  close(): void {
    this.#client.close();
    this.#store.close();
  }
}
