// The number of operations that wasm3 executes is the same for different secrets: no branch and no loop depends on
// one. (Addresses do not show here, and the time of a single operation does not either.)

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, test } from "node:test";
import wabt from "wabt";
import type { Engine, Instance } from "../../host/core/engine.ts";
import { STATUS } from "../../host/status.ts";
import { wasm3Engine } from "../../host/wasm3-engine.ts";
import { KAT_WASM } from "../support/kat.ts";
import { needWasm3 } from "../support/wasm3.ts";
import { hex, utf8 } from "../twin/bytes.ts";
import { Random } from "../twin/random.ts";
