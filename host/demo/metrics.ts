// Live measurements of this machine, each as one short line of text.

import { readFileSync, statfsSync } from "node:fs";
import { cpus, freemem, networkInterfaces, totalmem } from "node:os";

export type MetricName = "cpu" | "memory" | "disk" | "network";
export const METRICS: readonly MetricName[] = ["cpu", "memory", "disk", "network"];

/** A gauge remembers its last reading where a measurement is a difference. */
export type Gauge = () => string;

export function gauge(name: MetricName): Gauge {
  return { cpu: cpuGauge, memory: () => memory, disk: () => disk, network: networkGauge }[name]();
}

const GB = 1e9;

/** Share of time the processors worked since the last reading. */
function cpuGauge(): Gauge {
  let before = cpuTimes();
  return () => {
    const now = cpuTimes();
    const total = now.total - before.total;
    const busy = total <= 0 ? 0 : (100 * (now.busy - before.busy)) / total;
    before = now;
    return `${busy.toFixed(1)} % busy on ${cpus().length} cores`;
  };
}

function cpuTimes(): { busy: number; total: number } {
  let busy = 0;
  let idle = 0;
  for (const { times } of cpus()) {
    busy += times.user + times.nice + times.sys + times.irq;
    idle += times.idle;
  }
  return { busy, total: busy + idle };
}

function memory(): string {
  return `${(available() / GB).toFixed(3)} of ${(totalmem() / GB).toFixed(1)} GB free`;
}

/** Linux counts caches it would give back; elsewhere what is free now. */
function available(): number {
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(readText("/proc/meminfo"));
  return match === null ? freemem() : Number(match[1]) * 1024;
}

function disk(): string {
  const { bavail, blocks, bsize } = statfsSync(process.cwd());
  return `${((bavail * bsize) / GB).toFixed(3)} of ${((blocks * bsize) / GB).toFixed(1)} GB free`;
}

/** Bytes over all interfaces since the last reading; without counters, the addresses in use. */
function networkGauge(): Gauge {
  let before = networkBytes();
  return () => {
    const now = networkBytes();
    if (now === undefined || before === undefined) {
      return `${Object.values(networkInterfaces()).flat().length} addresses in use`;
    }
    const bytes = now - before;
    before = now;
    return `${(bytes / 1000).toFixed(2)} kB received`;
  };
}

function networkBytes(): number | undefined {
  const rows = [...readText("/proc/net/dev").matchAll(/^\s*\S+:\s*(\d+)/gm)];
  return rows.length === 0 ? undefined : rows.reduce((sum, row) => sum + Number(row[1]), 0);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
