// What the package offers: a client for any transport, the same behind MQTT.js, and the key server.

export type { ClientOptions, Message, Received, Reply } from "./client/client.ts";
export { Client } from "./client/client.ts";
export { candidates, isFilter, isTopic, match } from "./client/filter.ts";
export type { ChannelInfo, DeviceOptions, Opened } from "./core/device.ts";
export { Device } from "./core/device.ts";
export type { Build, Engine, Instance } from "./core/engine.ts";
export { CoreTrapError } from "./core/engine.ts";
export { type Modules, v8Engine } from "./core/wasm.ts";
export type {
  ChannelParams,
  ChannelState,
  DeviceStatus,
  GrantOptions,
  KeyServerOptions,
  ServerEvent,
  Unlock,
} from "./keyserver/server.ts";
export { KeyServer, ServerError } from "./keyserver/server.ts";
export { MqttLink } from "./mqtt/link.ts";
export type {
  AmpouleOptions,
  ConnectOptions,
  Mark,
  ProtectedClient,
  ProtectedEvents,
  ProtectedPacket,
  ProtectOptions,
  Refusal,
} from "./mqtt/protect.ts";
export { connect, protect } from "./mqtt/protect.ts";
export { NoSqliteError, nodeWorld } from "./node-world.ts";
export type { StatusName } from "./status.ts";
export { RefusedError, STATUS, statusName } from "./status.ts";
export { DirectoryStore } from "./store/directory.ts";
export { LockedError, StoreError, type StoreErrorCode } from "./store/errors.ts";
export { formatIdentity, type NamedIdentity, parseIdentity } from "./store/identity.ts";
export { MemoryStore, type StoreImage } from "./store/memory.ts";
export type { Identity, Store, StoredState } from "./store/store.ts";
export type { Database, Disk, Link, LinkOptions, SqlValue, Timer, World } from "./world.ts";
