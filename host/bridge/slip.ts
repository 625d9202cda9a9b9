// Packets on a serial line: SLIP (RFC 1055) around a type, a body and a CRC (firmware/ports/SERIAL.md).
// Ours, as the parser on npm copies its whole buffer for each byte and has no limit to it.

const END = 0xc0;
const ESC = 0xdb;
const ESC_END = 0xdc;
const ESC_ESC = 0xdd;
const CRC_SIZE = 2;

/** CRC-16/IBM-SDLC. */
export function crc16(bytes: Uint8Array): number {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; ++bit) crc = (crc & 1) === 1 ? (crc >> 1) ^ 0x8408 : crc >> 1;
  }
  return crc ^ 0xffff;
}

/** A packet, type and body, as it goes over the line. */
export function encode(packet: Uint8Array): Uint8Array {
  const crc = crc16(packet);
  const line = [END];
  for (const byte of [...packet, crc & 0xff, crc >> 8]) {
    if (byte === END) line.push(ESC, ESC_END);
    else if (byte === ESC) line.push(ESC, ESC_ESC);
    else line.push(byte);
  }
  line.push(END);
  return Uint8Array.from(line);
}

/** Finds packets in what comes over a line; whatever is none is left out. */
export class Decoder {
  readonly #buffer: Uint8Array;
  #length = 0;
  #isEscaped = false;
  #isBad = false;

  /** `max` is the longest packet, type to CRC. */
  constructor(max: number) {
    this.#buffer = new Uint8Array(max);
  }

  /** Packets, type and body, that these bytes complete. */
  *decode(bytes: Uint8Array): Generator<Uint8Array> {
    for (const byte of bytes) {
      if (byte !== END) this.#take(byte);
      else {
        const packet = this.#finish();
        if (packet !== null) yield packet;
      }
    }
  }

  #take(byte: number): void {
    let value = byte;
    if (this.#isEscaped) {
      this.#isEscaped = false;
      if (byte === ESC_END) value = END;
      else if (byte === ESC_ESC) value = ESC;
      else this.#isBad = true;
    } else if (byte === ESC) {
      this.#isEscaped = true;
      return;
    }
    if (this.#length === this.#buffer.length) this.#isBad = true;
    else this.#buffer[this.#length++] = value;
  }

  #finish(): Uint8Array | null {
    const end = this.#length - CRC_SIZE;
    const isBad = this.#isBad || this.#isEscaped || end < 1;
    this.#length = 0;
    this.#isEscaped = this.#isBad = false;
    if (isBad) return null;
    const packet = this.#buffer.slice(0, end);
    const crc = (this.#buffer[end] as number) | ((this.#buffer[end + 1] as number) << 8);
    return crc === crc16(packet) ? packet : null;
  }
}
