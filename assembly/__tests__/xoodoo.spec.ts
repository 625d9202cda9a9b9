import { STATE_SIZE, permute, state, wipeState } from "../xoodoo";

function lane(y: i32, x: i32): u32 {
  return load<u32>(state + 16 * y + 4 * x);
}

// The first vector is the one of the Xoodoo test suite (all-zero state); the
// second, on lanes 0, 1, ... 11, comes from an independent model in Python.
describe("xoodoo", () => {
  it("permutes the zero state to the known one", () => {
    wipeState();
    permute();
    expect(lane(0, 0)).toBe(0x89d5d88d);
    expect(lane(0, 1)).toBe(0xa963fcbf);
    expect(lane(0, 2)).toBe(0x1b232d19);
    expect(lane(0, 3)).toBe(0xffa5a014);
    expect(lane(1, 0)).toBe(0x36b18106);
    expect(lane(1, 1)).toBe(0xafc7c1fe);
    expect(lane(1, 2)).toBe(0xaee57cbe);
    expect(lane(1, 3)).toBe(0xa77540bd);
    expect(lane(2, 0)).toBe(0x2e86e870);
    expect(lane(2, 1)).toBe(0xfef5b7c9);
    expect(lane(2, 2)).toBe(0x8b4fadf2);
    expect(lane(2, 3)).toBe(0x5e4f4062);
  });

  it("permutes counted lanes to the known state", () => {
    for (let i = 0; i < 12; ++i) store<u32>(state + 4 * i, i);
    permute();
    expect(lane(0, 0)).toBe(0x074f85b8);
    expect(lane(0, 1)).toBe(0xe5c1a73b);
    expect(lane(0, 2)).toBe(0x937c3a98);
    expect(lane(0, 3)).toBe(0x4945a0b6);
    expect(lane(1, 0)).toBe(0x095ea028);
    expect(lane(1, 1)).toBe(0x01667596);
    expect(lane(1, 2)).toBe(0xcb91f979);
    expect(lane(1, 3)).toBe(0xe8a995ff);
    expect(lane(2, 0)).toBe(0xaf689b19);
    expect(lane(2, 1)).toBe(0xcd1603c3);
    expect(lane(2, 2)).toBe(0xa65a515e);
    expect(lane(2, 3)).toBe(0x3ad8077b);
  });

  it("is wiped to zero", () => {
    permute();
    wipeState();
    for (let i = 0; i < STATE_SIZE; ++i) expect(load<u8>(state + i)).toBe(0);
  });
});
