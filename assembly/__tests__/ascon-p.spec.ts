import { P12, P8, permute, state, wipeState } from "../ascon-p";

/** From each round constant to the next. */
const STEP: i32 = -15;

function set(s0: u64, s1: u64, s2: u64, s3: u64, s4: u64): void {
  state.S0 = s0;
  state.S1 = s1;
  state.S2 = s2;
  state.S3 = s3;
  state.S4 = s4;
}

function expectState(s0: u64, s1: u64, s2: u64, s3: u64, s4: u64): void {
  expect(state.S0).toBe(s0);
  expect(state.S1).toBe(s1);
  expect(state.S2).toBe(s2);
  expect(state.S3).toBe(s3);
  expect(state.S4).toBe(s4);
}

/** The last n rounds of Ascon-p[12] on S = 0, 1, 2, 3, 4. */
function lastRounds(n: i32): void {
  set(0, 1, 2, 3, 4);
  permute(P12 + (12 - n) * STEP);
}

// Expected values: an independent model in Python that reproduces the official known answers.
describe("ascon-p", () => {
  it("does one round", () => {
    lastRounds(1);
    expectState(
      0x000944a00000004a,
      0x000000009c00023e,
      0xcfffffffffffff94,
      0x13e780000000004f,
      0x0c00000003000006,
    );
  });

  it("does two rounds", () => {
    lastRounds(2);
    expectState(
      0x3c58a7a54f0fa5a7,
      0x33a8975f5127ebf9,
      0xf9f00000e17403db,
      0xa00926598800e3bb,
      0xedc7de01c3f3d57e,
    );
  });

  it("does Ascon-p[8]", () => {
    set(0, 1, 2, 3, 4);
    permute(P8);
    expectState(
      0x43a94cbaff476ea6,
      0xa17eec92436af782,
      0x05aebdfc373c3949,
      0xf8a6442768ef0fb1,
      0xc0c976a6cf13e385,
    );
    lastRounds(8);
    expectState(
      0x43a94cbaff476ea6,
      0xa17eec92436af782,
      0x05aebdfc373c3949,
      0xf8a6442768ef0fb1,
      0xc0c976a6cf13e385,
    );
  });

  it("does Ascon-p[12]", () => {
    lastRounds(12);
    expectState(
      0x5b1a32e040646cc6,
      0x7a65613da39b3e2e,
      0x721167c891f66c2f,
      0x32c85b9b604cad70,
      0xf384fd3c21f6c615,
    );
    set(0, 0, 0, 0, 0);
    permute(P12);
    expectState(
      0x78ea7ae5cfebb108,
      0x9b9bfb8513b560f7,
      0x6937f83e03d11a50,
      0x3fe53f36f2c1178c,
      0x045d648e4def12c9,
    );
  });

  it("is wiped to zero", () => {
    lastRounds(12);
    wipeState();
    expectState(0, 0, 0, 0, 0);
  });
});
