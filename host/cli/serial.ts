// Serial lines by name: a port of this machine, or a socket where an emulator or a terminal server has one.

import { connect, type Socket } from "node:net";
import type { Line } from "../bridge/bridge.ts";
import { io, usage } from "./errors.ts";

export interface SerialOptions {
  /** A path, tcp:HOST:PORT or unix:PATH. */
  serial: string;
  baud: number;
}

/** Codes of sockets, and what serialport says in words. */
const HINTS: [error: RegExp, hint: string][] = [
  [/EACCES|permission denied|access denied/i, "may this user use serial ports (group dialout)?"],
  [/ENOENT|no such file|file not found/i, "is the device plugged in, and is that its name?"],
  [/ECONNREFUSED/, "nobody listens there"],
  [/cannot lock port|EBUSY/i, "another program uses it"],
];

/** Opens a line. Throws a CliError that says why not. */
export async function openLine(options: SerialOptions): Promise<Line> {
  const { serial } = options;
  try {
    if (serial.startsWith("unix:")) return await openSocket(connect(serial.slice("unix:".length)));
    if (serial.startsWith("tcp:")) return await openTcp(serial.slice("tcp:".length));
    return await openPort(options);
  } catch (error) {
    if (!(error instanceof Error) || error.name === "CliError") throw error;
    const { code = "", message } = error as NodeJS.ErrnoException;
    const why = message.replace(/^Error:? /, "").replace(/, cannot open .*$/i, "") || code;
    throw io(`cannot open ${serial}: ${why}`, HINTS.find(([said]) => said.test(why))?.[1]);
  }
}

function openTcp(address: string): Promise<Line> {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(address) ?? [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65535) {
    throw usage(`tcp:${address} is no address`, "it is tcp:HOST:PORT");
  }
  return openSocket(connect(Number(port), host.replace(/^\[(.*)\]$/, "$1")));
}

function openSocket(socket: Socket): Promise<Line> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject).on("error", () => {});
      socket.setNoDelay(true);
      resolve(new StreamLine(socket, () => socket.destroy()));
    });
  });
}

async function openPort({ serial, baud }: SerialOptions): Promise<Line> {
  const { SerialPort } = await import("serialport").catch(() => {
    throw io("serial ports need the package serialport", "npm install serialport@13, or use tcp: or unix:");
  });
  const port = new SerialPort({ path: serial, baudRate: baud, autoOpen: false });
  await new Promise<void>((resolve, reject) => port.open((error) => (error ? reject(error) : resolve())));
  port.on("error", () => {});
  return new StreamLine(port, () => {
    if (port.isOpen) port.close(() => {});
  });
}

class StreamLine implements Line {
  onBytes: Line["onBytes"] = () => {};
  onClose: Line["onClose"] = () => {};
  readonly #stream: NodeJS.ReadWriteStream;
  readonly #close: () => void;

  constructor(stream: NodeJS.ReadWriteStream, close: () => void) {
    this.#stream = stream;
    this.#close = close;
    stream.on("data", (bytes: Buffer) => this.onBytes(bytes));
    stream.on("close", () => this.onClose());
  }

  write(bytes: Uint8Array): void {
    if (this.#stream.writable) this.#stream.write(Buffer.from(bytes));
  }

  close(): void {
    this.onBytes = () => {};
    this.onClose = () => {};
    this.#close();
  }
}
