import { equalPublic, pub8, pub16, pub32, wipe } from "../bytes";

const A = memory.data(32, 8);
const B = memory.data(32, 8);

function count(ptr: usize): void {
  for (let i = 0; i < 32; ++i) store<u8>(ptr + i, i + 1);
}

describe("bytes", () => {
  it("wipes len bytes and no other, at every alignment", () => {
    for (let at = 0; at < 9; ++at) {
      for (let len = 0; len <= 17; ++len) {
        count(A);
        wipe(A + at, len);
        let wrong = 0;
        for (let i = 0; i < 32; ++i) {
          const inside = i >= at && i < at + len;
          if (load<u8>(A + i) != (inside ? 0 : <u8>(i + 1))) ++wrong;
        }
        expect(wrong).toBe(0);
      }
    }
  });

  it("reads public numbers little-endian, unsigned, unaligned", () => {
    store<u8>(A, 0x11, 0);
    store<u8>(A, 0x82, 1);
    store<u8>(A, 0x93, 2);
    store<u8>(A, 0xa4, 3);
    store<u8>(A, 0xf5, 4);
    expect(pub8(A + 1)).toBe(0x82);
    expect(pub16(A + 1)).toBe(0x9382);
    expect(pub32(A + 1)).toBe(<i32>0xf5a49382);
  });

  it("finds any one different byte, and none in no bytes", () => {
    count(A);
    count(B);
    expect(equalPublic(A, B, 32)).toBe(1);
    for (let i = 0; i < 32; ++i) {
      count(B);
      store<u8>(B + i, load<u8>(B + i) ^ 0x80);
      expect(equalPublic(A, B, 32)).toBe(0);
      expect(equalPublic(A, B, i)).toBe(1);
      expect(equalPublic(A + i, B + i, 1)).toBe(0);
    }
    expect(equalPublic(A, B, 0)).toBe(1);
  });
});
