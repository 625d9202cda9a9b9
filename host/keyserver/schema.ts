// Tables of a key server's database. Columns of type BLOB are sealed by the vault unless they say otherwise.

/** "AMPK" */
export const APPLICATION_ID = 0x414d504b;
export const SCHEMA_VERSION = 4;

/**
 * Ids and nonces are hex. Revisions are 16 hex digits, incarnation first, and compare as text.
 * A generation 0 in `held` says: the device may hold this channel, but what of it is not known.
 */
export const SCHEMA = `
CREATE TABLE realm (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  realm TEXT NOT NULL,
  prefix TEXT NOT NULL,
  incarnation INTEGER NOT NULL,
  floor INTEGER NOT NULL,
  recoverable INTEGER NOT NULL,
  method TEXT NOT NULL,
  salt BLOB NOT NULL, -- clear
  memory_kib INTEGER NOT NULL,
  passes INTEGER NOT NULL,
  lanes INTEGER NOT NULL,
  proof BLOB NOT NULL
) STRICT;
CREATE TABLE device (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  class INTEGER,
  version INTEGER NOT NULL,
  key BLOB NOT NULL,
  next_key BLOB,
  fresh BLOB,
  revision TEXT NOT NULL,
  ask INTEGER NOT NULL,
  moved INTEGER NOT NULL,
  far INTEGER NOT NULL,
  doubt INTEGER NOT NULL,
  synced INTEGER NOT NULL,
  last_seen INTEGER,
  blob_sequence INTEGER,
  alarm TEXT,
  boot_sequence INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE channel (
  id TEXT PRIMARY KEY,
  filter TEXT NOT NULL UNIQUE,
  suite INTEGER NOT NULL,
  frame_size INTEGER NOT NULL,
  short_tag INTEGER NOT NULL,
  topic_mode INTEGER NOT NULL,
  late INTEGER NOT NULL,
  ahead INTEGER NOT NULL,
  stored INTEGER NOT NULL,
  narrow INTEGER NOT NULL,
  mark_block INTEGER NOT NULL,
  lease_steps INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  step INTEGER NOT NULL,
  target INTEGER NOT NULL,
  keep INTEGER NOT NULL,
  next_sender INTEGER NOT NULL,
  seed BLOB NOT NULL,
  step_every INTEGER NOT NULL DEFAULT 86400,
  stepped_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE node (
  channel TEXT NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
  h INTEGER NOT NULL,
  key BLOB NOT NULL,
  PRIMARY KEY (channel, h)
) STRICT, WITHOUT ROWID;
CREATE TABLE member (
  channel TEXT NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
  device TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
  sender INTEGER NOT NULL,
  will INTEGER NOT NULL,
  from_step INTEGER NOT NULL,
  open_step INTEGER NOT NULL,
  to_step INTEGER NOT NULL,
  steps INTEGER NOT NULL,
  renew INTEGER NOT NULL,
  writes INTEGER NOT NULL,
  sent INTEGER NOT NULL,
  paid_to INTEGER NOT NULL DEFAULT 0,
  suspended_to INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (channel, device)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter (
  channel TEXT NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
  sender INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  step INTEGER NOT NULL,
  next INTEGER NOT NULL,
  PRIMARY KEY (channel, sender)
) STRICT, WITHOUT ROWID;
CREATE TABLE held (
  device TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
  channel TEXT NOT NULL,
  generation INTEGER NOT NULL,
  step INTEGER NOT NULL,
  from_step INTEGER NOT NULL,
  open_step INTEGER NOT NULL,
  to_step INTEGER NOT NULL,
  form INTEGER NOT NULL,
  frame INTEGER NOT NULL,
  la INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  sender INTEGER NOT NULL,
  will INTEGER NOT NULL,
  granted INTEGER NOT NULL,
  lock BLOB,
  counters TEXT,
  refused TEXT,
  PRIMARY KEY (device, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE revision (
  device TEXT PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,
  revision TEXT NOT NULL,
  session INTEGER NOT NULL,
  commands BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE boot (
  device TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
  nonce TEXT NOT NULL,
  revision TEXT NOT NULL,
  confirmed INTEGER NOT NULL,
  random BLOB,
  PRIMARY KEY (device, nonce)
) STRICT, WITHOUT ROWID;
CREATE TABLE past (
  channel TEXT PRIMARY KEY,
  generation INTEGER NOT NULL,
  clear INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

/**
 * What brings a database of an older schema to the next one: from version i + 1 to i + 2. New columns
 * come last in their tables, so that a migrated table is the same as a new one.
 */
export const MIGRATIONS: string[] = [
  `ALTER TABLE channel ADD COLUMN step_every INTEGER NOT NULL DEFAULT 86400;
   ALTER TABLE channel ADD COLUMN stepped_at INTEGER NOT NULL DEFAULT 0;`,
  // What was given before has other locks and payloads: it is told again.
  `ALTER TABLE device ADD COLUMN boot_sequence INTEGER;
   ALTER TABLE member DROP COLUMN replace;
   DELETE FROM revision;
   UPDATE held SET generation = 0, lock = NULL, granted = -1;
   UPDATE device SET ask = 1, synced = 0, blob_sequence = NULL;`,
  `ALTER TABLE member ADD COLUMN paid_to INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE member ADD COLUMN suspended_to INTEGER NOT NULL DEFAULT 0;`,
];
