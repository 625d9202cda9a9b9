/** The twin's side of the tables that run-vectors.ts compares. */

import { cover } from "./keytree.ts";
import type { Rooms, RowText, WindowText } from "./run-vectors.ts";
import { STATUS, statusName } from "./status.ts";
import { checkRow, markRow, type Window, type Windows } from "./window.ts";

function windowText(window: Window): WindowText {
  const { generation, step, top, bits } = window;
  return { generation, step, top, bits: bits.toString(16).padStart(16, "0") };
}

function parseWindow(text: WindowText): Window {
  return { ...text, bits: BigInt(`0x${text.bits}`) };
}

/** A row of section 9 as the tables hold it. */
export function rowText(row: Windows | null): RowText | null {
  if (row === null) return null;
  const n0 = row.n0 === null ? null : windowText(row.n0);
  return { n1: windowText(row.n1), n0, closedBelow: row.closedBelow };
}

function parseRow(text: RowText | null): Windows | null {
  if (text === null) return null;
  const n0 = text.n0 === null ? null : parseWindow(text.n0);
  return { n1: parseWindow(text.n1), n0, closedBelow: text.closedBelow };
}

export const twinRooms: Rooms = {
  cover,
  window(text, epoch, counter) {
    const row = parseRow(text);
    const status = checkRow(row, epoch, counter);
    const after = status === STATUS.OK ? rowText(markRow(row, epoch, counter)) : null;
    return { status: statusName(status), after };
  },
};
