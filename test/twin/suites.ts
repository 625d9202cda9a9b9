/** SPEC section 3: seal, open, derive, digest. */

import { asconCxof, asconDecrypt, asconEncrypt } from "./ascon.ts";
import { type Bytes, concat, equal, u8, u32, utf8, zeros } from "./bytes.ts";
import { Cyclist } from "./xoodyak.ts";

export const ASCON_SIV = 0;
export const ASCON_AEAD = 1;
export const XOODYAK_SIV = 2;
export const XOODYAK_AEAD = 3;

export const ZERO_ID = zeros(8);

/** A realm, an id of a channel or device, a generation, and the suite that derives for them. */
export interface Scope {
  readonly suite: number;
  readonly realm: Bytes;
  readonly id: Bytes;
  readonly generation: number;
}

export interface Sealed {
  /** The keystream nonce N of S-1 and S-3; the nonce itself for AEAD suites. */
  readonly n: Bytes;
  readonly cipher: Bytes;
  readonly tag: Bytes;
}

export function isSiv(suite: number): boolean {
  return (suite & 1) === 0;
}

export function isXoodyak(suite: number): boolean {
  return (suite & 2) !== 0;
}

export function keySize(suite: number): number {
  return isSiv(suite) ? 32 : 16;
}

function sivNonce(tag: Bytes, nonce: Bytes): Bytes {
  return tag.length === 16 ? tag : concat(tag, nonce.subarray(8, 16));
}

function sivTag(suite: number, key: Bytes, nonce: Bytes, ad: Bytes, text: Bytes, t: number): Bytes {
  const km = key.subarray(0, 16);
  const input = concat(ad, text);
  if (!isXoodyak(suite)) return asconEncrypt(km, nonce, input, zeros(0)).tag.slice(0, t);
  const cyclist = new Cyclist(km, nonce);
  cyclist.absorb(input);
  return cyclist.squeeze(16).slice(0, t);
}

/** S-1 to S-4. key has 32 bytes for SIV suites and 16 for AEAD suites, nonce 16, t is 8 or 16. */
export function seal(suite: number, key: Bytes, nonce: Bytes, ad: Bytes, text: Bytes, t: number): Sealed {
  if (suite === ASCON_AEAD) {
    const { cipher, tag } = asconEncrypt(key, nonce, ad, text);
    return { n: nonce, cipher, tag: tag.slice(0, t) };
  }
  if (suite === XOODYAK_AEAD) {
    const cyclist = new Cyclist(key, nonce);
    cyclist.absorb(ad);
    const cipher = cyclist.encrypt(text);
    return { n: nonce, cipher, tag: cyclist.squeeze(16).slice(0, t) };
  }
  const tag = sivTag(suite, key, nonce, ad, text, t);
  const n = sivNonce(tag, nonce);
  const ke = key.subarray(16, 32);
  const cipher =
    suite === XOODYAK_SIV ? new Cyclist(ke, n).encrypt(text) : asconEncrypt(ke, n, zeros(0), text).cipher;
  return { n, cipher, tag };
}

/** S-5: the text, or null when the tag of the recovered text is another. The tag's length is t. */
export function open(
  suite: number,
  key: Bytes,
  nonce: Bytes,
  ad: Bytes,
  cipher: Bytes,
  tag: Bytes,
): Bytes | null {
  const t = tag.length;
  if (suite === ASCON_AEAD) {
    const { text, tag: expected } = asconDecrypt(key, nonce, ad, cipher);
    return equal(expected.slice(0, t), tag) ? text : null;
  }
  if (suite === XOODYAK_AEAD) {
    const cyclist = new Cyclist(key, nonce);
    cyclist.absorb(ad);
    const text = cyclist.decrypt(cipher);
    return equal(cyclist.squeeze(16).slice(0, t), tag) ? text : null;
  }
  const n = sivNonce(tag, nonce);
  const ke = key.subarray(16, 32);
  const text =
    suite === XOODYAK_SIV ? new Cyclist(ke, n).decrypt(cipher) : asconDecrypt(ke, n, zeros(0), cipher).text;
  return equal(sivTag(suite, key, nonce, ad, text, t), tag) ? text : null;
}

/** S-6. */
export function derive(suite: number, key: Bytes, label: string, context: Bytes, n: number): Bytes {
  if (!isXoodyak(suite)) return asconCxof(utf8(label), concat(key, context), n);
  const cyclist = new Cyclist();
  cyclist.absorb(utf8(label));
  cyclist.absorb(key);
  cyclist.absorb(context);
  return cyclist.squeeze(n);
}

/** S-7. */
export function base(scope: Scope, n: number): Bytes {
  return concat(u8(scope.suite), u8(n), scope.realm, scope.id, u32(scope.generation));
}

/** derive with the base of the scope in front of the rest of the context. */
export function deriveIn(scope: Scope, key: Bytes, label: string, rest: Bytes, n: number): Bytes {
  return derive(scope.suite, key, label, concat(base(scope, n), rest), n);
}

/** S-8. */
export function digest(label: string, message: Bytes, n: number): Bytes {
  return asconCxof(utf8(label), message, n);
}

export function channelId(realm: Bytes, filter: string): Bytes {
  return digest("A1-chan", concat(realm, utf8(filter)), 8);
}

/** A byte of `form` (section 6) taken apart; null for a form that section 6 does not have. */
export function parseForm(form: number): { suite: number; t: number } | null {
  if ((form & 0b1110_0011) !== 0) return null;
  return { suite: (form >> 2) & 3, t: (form & 0x10) !== 0 ? 8 : 16 };
}

export function makeForm(suite: number, t: number): number {
  return (suite << 2) | (t === 8 ? 0x10 : 0);
}
