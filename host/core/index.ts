// The core without a transport, for any place that runs WebAssembly: nothing here imports Node.

export { RefusedError, STATUS, type StatusName, statusName } from "../status.ts";
export { MemoryStore, type StoreImage } from "../store/memory.ts";
export type { Identity, Store, StoredState } from "../store/store.ts";
export type { Database, Disk, Link, LinkOptions, SqlValue, Timer, World } from "../world.ts";
export { type ChannelInfo, Device, type DeviceOptions, type Opened } from "./device.ts";
export { type Build, CoreTrapError, type Engine, type Instance } from "./engine.ts";
export { type FrameHead, Kit, LABEL, type Label } from "./kit.ts";
export { type Modules, v8Engine } from "./wasm.ts";
