// One suite over every store: in memory, in a directory of a disk whose power fails, and in a real one.

import assert from "node:assert/strict";
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { nodeWorld } from "../../host/node-world.ts";
import { DirectoryStore } from "../../host/store/directory.ts";
import { LockedError, StoreError, type StoreErrorCode } from "../../host/store/errors.ts";
import { formatIdentity } from "../../host/store/identity.ts";
import { MARK_SIZE, MemoryStore } from "../../host/store/memory.ts";
import type { Identity, Store, StoredState } from "../../host/store/store.ts";
import type { World } from "../../host/world.ts";
import { FakeDisk } from "./fake-disk.ts";

const IDENTITY: Identity = {
  realm: new Uint8Array(8).fill(1),
  device: new Uint8Array(8).fill(2),
  prefix: "ampoule",
  key: new Uint8Array(16).fill(3),
};
const LATER: Identity = {
  realm: IDENTITY.realm,
  device: IDENTITY.device,
  prefix: IDENTITY.prefix,
  storageKey: new Uint8Array(32).fill(4),
};
const mark = (n: number): Uint8Array => new Uint8Array(MARK_SIZE).fill(n);
const blob = (n: number, size = 500): Uint8Array => new Uint8Array(size).fill(n);
const withDisk = (disk: World["disk"]): World => ({ ...nodeWorld(), disk });

/** A medium that outlives the process: `boot` opens it, `cut` lets power fail at a later write. */
interface Medium {
  boot(): Store;
  cut?(writes: number, torn: number): void;
}

function memory(): Medium {
  const store = new MemoryStore(IDENTITY);
  return {
    boot: () => {
      store.powerOn();
      return store;
    },
    cut: (writes, torn) => store.cutPower(writes, torn),
  };
}

function fakeDirectory(): Medium {
  const disk = new FakeDisk();
  disk.write("id.json", new TextEncoder().encode(formatIdentity(IDENTITY)));
  return {
    boot: () => {
      disk.powerOn();
      return new DirectoryStore(withDisk(disk), "id.json");
    },
    cut: (writes, torn) => disk.cutPower(writes, torn),
  };
}

const directories: string[] = [];
after(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "ampoule-store-"));
  directories.push(directory);
  return directory;
}

function realDirectory(): Medium & { path: string } {
  const path = join(temporary(), "id.json");
  writeFileSync(path, formatIdentity(IDENTITY), { mode: 0o600 });
  let open: DirectoryStore | undefined;
  return {
    path,
    boot: () => {
      open?.close();
      open = new DirectoryStore(nodeWorld(), path);
      return open;
    },
  };
}

const MEDIA: [string, () => Medium][] = [
  ["memory store", memory],
  ["directory store", fakeDirectory],
  ["directory store on this disk", realDirectory],
];

for (const [name, make] of MEDIA) {
  describe(name, () => {
    test(`${name}: a new one has its identity, blank slots and no marks`, () => {
      const store = make().boot();
      assert.deepEqual(store.identity(), IDENTITY);
      assert.deepEqual(store.load(), { slots: [null, null], marks: [] });
    });

    test(`${name}: slots, marks in order and identity are there after a restart [T-2] [T-5]`, () => {
      const medium = make();
      const store = medium.boot();
      store.writeSlot(0, blob(1));
      store.writeSlot(1, blob(2, 700));
      store.appendMark(mark(3));
      store.appendMark(mark(4));
      store.saveIdentity(LATER);
      const again = medium.boot();
      assert.deepEqual(again.identity(), LATER);
      assert.deepEqual(again.load(), { slots: [blob(1), blob(2, 700)], marks: [mark(3), mark(4)] });
    });

    test(`${name}: the two slots are written one by one, marks go when told [T-7]`, () => {
      const medium = make();
      const store = medium.boot();
      store.writeSlot(0, blob(1));
      store.appendMark(mark(1));
      assert.equal(store.load().slots[1], null);
      assert.equal(store.load().marks.length, 1);
      store.clearMarks();
      store.clearMarks();
      assert.deepEqual(store.load().marks, []);
      store.appendMark(mark(2));
      assert.deepEqual(medium.boot().load().marks, [mark(2)]);
    });

    test(`${name}: nothing it gives out or takes in is shared with it`, () => {
      const store = make().boot();
      const mine = blob(1);
      store.writeSlot(0, mine);
      mine.fill(9);
      store.load().slots[0]?.fill(9);
      store.identity().realm.fill(9);
      assert.deepEqual(store.load().slots[0], blob(1));
      assert.deepEqual(store.identity().realm, IDENTITY.realm);
    });

    test(`${name}: a mark of the wrong size is refused by name and not stored [T-5]`, () => {
      const store = make().boot();
      for (const size of [0, MARK_SIZE - 1, MARK_SIZE + 1]) {
        assert.throws(() => store.appendMark(new Uint8Array(size)), isStoreError("BAD_MARK"));
      }
      assert.deepEqual(store.load().marks, []);
    });

    test(`${name}: an identity without any key is not saved`, () => {
      const store = make().boot();
      const { key: _, ...keyless } = IDENTITY;
      assert.throws(() => store.saveIdentity(keyless), isStoreError("BAD_IDENTITY"));
      assert.deepEqual(store.identity(), IDENTITY);
    });

    test(`${name}: once closed it does nothing more`, () => {
      const store = make().boot();
      store.close();
      store.close();
      assert.throws(() => store.load(), isStoreError("CLOSED"));
      assert.throws(() => store.appendMark(mark(1)), isStoreError("CLOSED"));
    });
  });
}

function isStoreError(code: StoreErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StoreError && error.code === code;
}

// Power cuts

/** What a device does between two messages: marks, then a blob in both slots, then marks again. */
const LIFE: ((store: Store) => void)[] = [
  (store) => store.appendMark(mark(1)),
  (store) => store.appendMark(mark(2)),
  (store) => store.writeSlot(0, blob(3)),
  (store) => store.writeSlot(1, blob(4)),
  (store) => store.clearMarks(),
  (store) => store.appendMark(mark(5)),
  (store) => store.saveIdentity(LATER),
  (store) => store.writeSlot(0, blob(6)),
];

function stateAfter(steps: number): { state: StoredState; identity: Identity } {
  const store = new MemoryStore(IDENTITY);
  for (const step of LIFE.slice(0, steps)) step(store);
  return { state: store.load(), identity: store.identity() };
}

/** True for the value before the cut write, or the one after it; a slot in memory may be torn as well. */
function isOneOf(value: unknown, ...allowed: unknown[]): boolean {
  return allowed.some((other) => {
    try {
      assert.deepEqual(value, other);
      return true;
    } catch {
      return false;
    }
  });
}

for (const [name, make] of MEDIA.slice(0, 2)) {
  for (const torn of [0, 1, 16, MARK_SIZE - 1]) {
    test(`${name}: power may fail at any write, ${torn} bytes into it, and no other record suffers [T-6] [T-8]`, () => {
      for (let cutAt = 0; cutAt < LIFE.length; cutAt++) {
        const medium = make();
        const store = medium.boot();
        medium.cut?.(cutAt, torn);
        for (const [index, step] of LIFE.entries()) {
          if (index < cutAt) step(store);
          else assert.throws(() => step(store));
        }
        const again = medium.boot();
        const found = again.load();
        const before = stateAfter(cutAt);
        const done = stateAfter(cutAt + 1);
        assert.ok(isOneOf(found.marks, before.state.marks, done.state.marks), `marks, cut at ${cutAt}`);
        assert.ok(isOneOf(again.identity(), before.identity, done.identity), `identity, cut at ${cutAt}`);
        for (const slot of [0, 1] as const) {
          const [was, is] = [before.state.slots[slot], done.state.slots[slot]];
          assert.ok(isOneOf(found.slots[slot], was, is, is?.slice(0, torn)), `slot ${slot}, cut at ${cutAt}`);
        }
        again.appendMark(mark(7));
        const marks = medium.boot().load().marks;
        assert.deepEqual(marks.at(-1), mark(7), "the next mark begins at a record's start");
        assert.equal(marks.length, found.marks.length + 1);
      }
    });
  }
}

test("memory store: a snapshot put back is the state of then, whatever came after", () => {
  const store = new MemoryStore(IDENTITY);
  store.writeSlot(0, blob(1));
  const image = store.snapshot();
  store.writeSlot(0, blob(2));
  store.appendMark(mark(1));
  store.restore(image);
  assert.deepEqual(store.load(), { slots: [blob(1), null], marks: [] });
});

// The directory

test("directory store: a state directory is used by one store at a time", () => {
  const { path, boot } = realDirectory();
  const store = boot();
  assert.throws(
    () => new DirectoryStore(nodeWorld(), path),
    (error) => error instanceof LockedError && error.name === "LockedError",
  );
  store.close();
  new DirectoryStore(nodeWorld(), path).close();
});

test("directory store: an identity reached by a symbolic link is the same one, and K(0) goes from the file itself [I-1]", () => {
  const { path, boot } = realDirectory();
  const link = `${path}.link`;
  symlinkSync(path, link);
  const store = boot();
  assert.throws(() => new DirectoryStore(nodeWorld(), link), LockedError);
  store.close();
  const linked = new DirectoryStore(nodeWorld(), link);
  linked.saveIdentity(LATER);
  linked.close();
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.equal(readFileSync(path, "utf8"), formatIdentity(LATER));
  assert.deepEqual(
    readdirSync(dirname(path)).filter((name) => name.startsWith(basename(link))),
    [basename(link)],
    "no state beside the link",
  );
});

test("directory store: files are for their owner only", () => {
  const { path, boot } = realDirectory();
  chmodSync(path, 0o644);
  const store = boot();
  store.writeSlot(0, blob(1));
  store.appendMark(mark(1));
  store.saveIdentity(LATER);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(`${path}.state`).mode & 0o777, 0o700);
  for (const file of readdirSync(`${path}.state`)) {
    assert.equal(statSync(join(`${path}.state`, file)).mode & 0o777, 0o600, file);
  }
});

test("directory store: K(0) is not in the identity file once it is overwritten [I-1]", () => {
  const { path, boot } = realDirectory();
  boot().saveIdentity(LATER);
  assert.doesNotMatch(readFileSync(path, "utf8"), /"key"|0303/);
});

test("directory store: the state may lie elsewhere, and a name in the identity stays", () => {
  const directory = temporary();
  const path = join(directory, "id.json");
  writeFileSync(path, formatIdentity({ ...IDENTITY, name: "pump-1" }));
  const store = new DirectoryStore(nodeWorld(), path, join(directory, "var", "state"));
  store.writeSlot(1, blob(1));
  store.saveIdentity(LATER);
  store.close();
  assert.deepEqual(readdirSync(join(directory, "var", "state")), ["lock", "slot-1"]);
  assert.match(readFileSync(path, "utf8"), /"name": "pump-1"/);
});

test("directory store: what does not belong there is refused by name, and stays", () => {
  const cases: [string, number, StoreErrorCode][] = [
    ["notes.txt", 1, "UNKNOWN_FILE"],
    ["slot-2", 1, "UNKNOWN_FILE"],
    ["slot-0", 5 << 20, "OVERSIZE"],
    ["marks", 17 << 20, "OVERSIZE"],
  ];
  for (const [file, size, code] of cases) {
    const disk = new FakeDisk();
    disk.write("id.json", new TextEncoder().encode(formatIdentity(IDENTITY)));
    disk.write(`id.json.state/${file}`, new Uint8Array(size));
    assert.throws(() => new DirectoryStore(withDisk(disk), "id.json"), isStoreError(code), file);
    assert.equal(disk.read(`id.json.state/${file}`)?.length, size);
    assert.throws(
      () => new DirectoryStore(withDisk(disk), "id.json"),
      isStoreError(code),
      "the lock is free again",
    );
  }
});

test("directory store: an identity that a device in C uses is refused, before and after the lock, nothing changed", () => {
  const disk = new FakeDisk();
  disk.write("id.json", new TextEncoder().encode(formatIdentity(IDENTITY)));
  disk.write("id.json.device/lock", new Uint8Array());
  assert.throws(() => new DirectoryStore(withDisk(disk), "id.json"), isStoreError("OTHER_DEVICE"));
  assert.throws(
    () => new DirectoryStore(withDisk(disk), "id.json", "elsewhere"),
    isStoreError("OTHER_DEVICE"),
  );
  assert.deepEqual(disk.list("id.json.state"), []);
  disk.remove("id.json.device/lock");
  const lock = disk.lock.bind(disk);
  disk.lock = (path) => {
    disk.write("id.json.device/lock", new Uint8Array());
    return lock(path);
  };
  assert.throws(() => new DirectoryStore(withDisk(disk), "id.json"), isStoreError("OTHER_DEVICE"));
});

test("directory store: an identity that is absent, too long or damaged is refused by name, nothing changed", () => {
  const disk = new FakeDisk();
  const open = (): Store => new DirectoryStore(withDisk(disk), "id.json");
  assert.throws(open, isStoreError("NO_IDENTITY_FILE"));
  for (const [content, code] of [
    ["{}", "BAD_IDENTITY"],
    [" ".repeat(5000), "OVERSIZE"],
  ] as const) {
    disk.write("id.json", new TextEncoder().encode(content));
    assert.throws(open, isStoreError(code));
    assert.deepEqual([...disk.files.keys()], ["id.json"]);
  }
});

test("directory store: asks for a blob beyond 256 KiB of marks, long before it is full [T-5]", () => {
  const disk = new FakeDisk();
  disk.write("id.json", new TextEncoder().encode(formatIdentity(IDENTITY)));
  const most = Math.floor((256 << 10) / MARK_SIZE);
  disk.write("id.json.state/marks", new Uint8Array(most * MARK_SIZE));
  const open = (): DirectoryStore => new DirectoryStore(withDisk(disk), "id.json");
  const store = open();
  assert.equal(store.wantsBlob(), false);
  store.appendMark(mark(1));
  assert.equal(store.wantsBlob(), true);
  store.close();
  const again = open();
  assert.equal(again.wantsBlob(), true, "after a restart too");
  again.clearMarks();
  assert.equal(again.wantsBlob(), false);
});

test("memory store: never asks for a blob", () => {
  const store: Store = new MemoryStore(IDENTITY);
  store.appendMark(mark(1));
  assert.equal(store.wantsBlob?.() ?? false, false);
});

test("directory store: what a cut-off write left beside a file is removed", () => {
  const disk = new FakeDisk();
  disk.write("id.json", new TextEncoder().encode(formatIdentity(IDENTITY)));
  disk.write("id.json.state/slot-0.tmp", blob(1));
  const store = new DirectoryStore(withDisk(disk), "id.json");
  assert.deepEqual(store.load().slots, [null, null]);
  assert.deepEqual(disk.list("id.json.state"), []);
});
