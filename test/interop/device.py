#!/usr/bin/env python3
"""A device for the Ampoule protocol, written from SPEC.md alone, with the standard library alone.

    device.py --identity FILE [--state DIR] --host H --port P --channel FILTER [--channel FILTER ...]
    device.py --vectors DIR

The first joins a broker. Orders come on stdin, one a line: `publish TOPIC TEXT`, `dump`, `quit`.
Events go to stdout as JSON lines. The second plays test/vectors and exits 1 at the first difference.

From top to bottom: Ascon, Xoodyak, seal and derive, key tree, window, the device itself, its
records, MQTT, the command line, the vectors. Letters and numbers in brackets are rules of SPEC.md.
"""

import argparse
import hmac
import json
import os
import select
import socket
import struct
import sys
import time
from collections import namedtuple

MASK64 = 0xFFFFFFFFFFFFFFFF
ZERO8, ZERO16 = bytes(8), bytes(16)

STATUS = {
    "OK": 0, "MORE": 1, "STORE_MARK": 2, "STORE_BLOB": 3, "BAD_TAG": 16, "BAD_LENGTH": 17, "BAD_FORM": 18,
    "NO_CHANNEL": 19, "UNKNOWN_EPOCH": 20, "NO_LEASE": 21, "REFLECTED": 22, "NO_ROOM": 23, "REPLAYED": 24,
    "CLOSED": 25, "BUSY": 26, "BAD_PADDING": 27, "BAD_PART": 28, "BAD_ORDER": 29, "NOT_YET": 30,
    "EXPIRED": 31, "EXHAUSTED": 32, "NO_STORED_MODE": 33, "BAD_BEACON": 34, "OLD_BEACON": 35,
    "FAR_BEACON": 36, "OLD_REVISION": 37, "BAD_COMMAND": 38, "CHANNEL_FULL": 39, "LEASE_FULL": 40,
    "HELD": 41, "OLD_GENERATION": 42, "BAD_CHANGE": 43, "BAD_NODE": 44, "BAD_RATCHET": 45, "BAD_SUITE": 46,
    "NO_SESSION": 47, "BAD_SESSION": 48, "NO_GRANT": 49, "BAD_RECORD": 50, "NO_IDENTITY": 51, "HOLD": 52,
    "PENDING": 53, "BAD_ARGUMENT": 54, "SINGLE_ONLY": 55, "GAP": 56,
}  # fmt: skip


class Refused(Exception):
    """Carries the name of a status of section 14; whoever raises it has changed nothing [N-3]."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


def u16(x):
    return struct.pack("<H", x)


def u32(x):
    return struct.pack("<I", x)


# ---------------------------------------------------------------------------------------------
# Ascon, NIST SP 800-232

ROUND_CONSTANTS = (0xF0, 0xE1, 0xD2, 0xC3, 0xB4, 0xA5, 0x96, 0x87, 0x78, 0x69, 0x5A, 0x4B)


def ascon_p(state, rounds):
    a, b, c, d, e = state
    for constant in ROUND_CONSTANTS[12 - rounds :]:
        c ^= constant
        a ^= e
        e ^= d
        c ^= b
        t0, t1, t2, t3, t4 = ~a & b, ~b & c, ~c & d, ~d & e, ~e & a
        a ^= t1
        b ^= t2
        c ^= t3
        d ^= t4
        e ^= t0
        b ^= a
        a ^= e
        d ^= c
        c ^= MASK64
        a ^= (a >> 19 | a << 45) & MASK64 ^ (a >> 28 | a << 36) & MASK64
        b ^= (b >> 61 | b << 3) & MASK64 ^ (b >> 39 | b << 25) & MASK64
        c ^= (c >> 1 | c << 63) & MASK64 ^ (c >> 6 | c << 58) & MASK64
        d ^= (d >> 10 | d << 54) & MASK64 ^ (d >> 17 | d << 47) & MASK64
        e ^= (e >> 7 | e << 57) & MASK64 ^ (e >> 41 | e << 23) & MASK64
    state[:] = a, b, c, d, e


def pad(data, rate):
    """Appends 1 and zeros; the result is whole blocks."""
    return data + b"\x01" + bytes(rate - 1 - len(data) % rate)


def ascon_aead(key, nonce, ad, data, opening=False):
    """Returns the other text and the whole tag; the caller compares."""
    k0, k1 = struct.unpack("<QQ", key)
    state = [0x00001000808C0001, k0, k1, *struct.unpack("<QQ", nonce)]
    ascon_p(state, 12)
    state[3] ^= k0
    state[4] ^= k1
    if ad:
        for x0, x1 in struct.iter_unpack("<QQ", pad(ad, 16)):
            state[0] ^= x0
            state[1] ^= x1
            ascon_p(state, 8)
    state[4] ^= 1 << 63
    out = bytearray()
    for at in range(0, len(data) + 1, 16):
        block = data[at : at + 16]
        stream = struct.pack("<QQ", state[0], state[1])
        other = bytes(x ^ y for x, y in zip(block, stream))
        out += other
        text = other if opening else block
        x0, x1 = struct.unpack("<QQ", text if len(text) == 16 else pad(text, 16))
        state[0] ^= x0
        state[1] ^= x1
        if len(block) == 16:
            ascon_p(state, 8)
    state[2] ^= k0
    state[3] ^= k1
    ascon_p(state, 12)
    return bytes(out), struct.pack("<QQ", state[3] ^ k0, state[4] ^ k1)


def ascon_cxof(customization, message, size):
    state = [0x0000080000CC0004, 0, 0, 0, 0]
    ascon_p(state, 12)
    blocks = struct.pack("<Q", 8 * len(customization)) + pad(customization, 8) + pad(message, 8)
    for (x,) in struct.iter_unpack("<Q", blocks):
        state[0] ^= x
        ascon_p(state, 12)
    out = struct.pack("<Q", state[0])
    while len(out) < size:
        ascon_p(state, 12)
        out += struct.pack("<Q", state[0])
    return out[:size]


# ---------------------------------------------------------------------------------------------
# Xoodyak, final round of the NIST process

XOODOO_CONSTANTS = (0x58, 0x38, 0x3C0, 0xD0, 0x120, 0x14, 0x60, 0x2C, 0x380, 0xF0, 0x1A0, 0x12)


def rotl32(x, n):
    return (x << n | x >> (32 - n)) & 0xFFFFFFFF


def xoodoo(data):
    lanes = struct.unpack("<12I", data)
    a0, a1, a2 = list(lanes[0:4]), list(lanes[4:8]), list(lanes[8:12])
    for constant in XOODOO_CONSTANTS:
        p = [x ^ y ^ z for x, y, z in zip(a0, a1, a2)]
        e = [rotl32(p[i - 1], 5) ^ rotl32(p[i - 1], 14) for i in range(4)]
        a0 = [x ^ y for x, y in zip(a0, e)]
        a1 = [x ^ y for x, y in zip(a1, e)]
        a2 = [rotl32(x ^ y, 11) for x, y in zip(a2, e)]
        a1 = [a1[i - 1] for i in range(4)]
        a0[0] ^= constant
        b0 = [x ^ ~y & z for x, y, z in zip(a0, a1, a2)]
        b1 = [y ^ ~z & x for x, y, z in zip(a0, a1, a2)]
        b2 = [z ^ ~x & y for x, y, z in zip(a0, a1, a2)]
        a0 = b0
        a1 = [rotl32(x, 1) for x in b1]
        a2 = [rotl32(b2[i - 2], 8) for i in range(4)]
    return struct.pack("<12I", *a0, *a1, *a2)


class Cyclist:
    def __init__(self, key=None, key_id=b""):
        self.state = bytearray(48)
        self.is_up = True
        self.keyed = key is not None
        if self.keyed:
            self._absorb_any(key + key_id + bytes([len(key_id)]), 44, 0x02)

    def _down(self, block, color):
        for i, byte in enumerate(block):
            self.state[i] ^= byte
        self.state[len(block)] ^= 0x01
        self.state[47] ^= color if self.keyed else color & 0x01
        self.is_up = False

    def _up(self, size, color):
        if self.keyed:
            self.state[47] ^= color
        self.state = bytearray(xoodoo(self.state))
        self.is_up = True
        return bytes(self.state[:size])

    def _absorb_any(self, data, rate, color):
        for at in range(0, max(1, len(data)), rate):
            if not self.is_up:
                self._up(0, 0x00)
            self._down(data[at : at + rate], color if at == 0 else 0x00)

    def absorb(self, data):
        self._absorb_any(data, 44 if self.keyed else 16, 0x03)

    def crypt(self, data, opening):
        out = b""
        for at in range(0, max(1, len(data)), 24):
            block = data[at : at + 24]
            stream = self._up(len(block), 0x80 if at == 0 else 0x00)
            other = bytes(x ^ y for x, y in zip(block, stream))
            out += other
            self._down(other if opening else block, 0x00)
        return out

    def squeeze(self, size):
        rate = 24 if self.keyed else 16
        out = self._up(min(size, rate), 0x40)
        while len(out) < size:
            self._down(b"", 0x00)
            out += self._up(min(size - len(out), rate), 0x00)
        return out


# ---------------------------------------------------------------------------------------------
# seal, open, derive: section 3


def is_siv(suite):
    return suite in (0, 2)


def tag_and_nonce(suite, key, nonce, ad, text, t):
    if suite == 0:
        tag = ascon_aead(key[:16], nonce, ad + text, b"")[1][:t]
    else:
        cyclist = Cyclist(key[:16], nonce)
        cyclist.absorb(ad + text)
        tag = cyclist.squeeze(16)[:t]
    return tag, tag if t == 16 else tag + nonce[8:16]


def siv_crypt(suite, key, nonce, data, opening):
    if suite == 0:
        return ascon_aead(key[16:], nonce, b"", data, opening)[0]
    return Cyclist(key[16:], nonce).crypt(data, opening)


def aead_crypt(suite, key, nonce, ad, data, opening):
    if suite == 1:
        return ascon_aead(key, nonce, ad, data, opening)
    cyclist = Cyclist(key, nonce)
    cyclist.absorb(ad)
    return cyclist.crypt(data, opening), cyclist.squeeze(16)


def seal(suite, key, nonce, ad, text, t=16):
    """[S-1..S-4] Returns C, T and N."""
    if is_siv(suite):
        tag, n = tag_and_nonce(suite, key, nonce, ad, text, t)
        return siv_crypt(suite, key, n, text, False), tag, n
    c, tag = aead_crypt(suite, key, nonce, ad, text, False)
    return c, tag[:t], nonce


def open_sealed(suite, key, nonce, ad, c, tag):
    """[S-5] Returns the text, or None."""
    t = len(tag)
    if is_siv(suite):
        text = siv_crypt(suite, key, tag if t == 16 else tag + nonce[8:16], c, True)
        expected = tag_and_nonce(suite, key, nonce, ad, text, t)[0]
    else:
        text, expected = aead_crypt(suite, key, nonce, ad, c, True)
    return text if hmac.compare_digest(expected[:t], tag) else None


def derive(suite, key, label, context, size):
    """[S-6]"""
    if suite < 2:
        return ascon_cxof(label, key + context, size)
    cyclist = Cyclist()
    for part in (label, key, context):
        cyclist.absorb(part)
    return cyclist.squeeze(size)


def digest(label, message, size):
    """[S-8]"""
    return ascon_cxof(label, message, size)


# ---------------------------------------------------------------------------------------------
# key tree: section 4. A node is (h, key); a list of nodes stands in order of their steps.


def span(h):
    """First step a node covers, and the one after its last."""
    depth = h.bit_length() - 1
    size = 1 << (12 - depth)
    first = (h - (1 << depth)) * size
    return first, first + size


def cover(first, end, deepest_up=5):
    """[K-4] Heap numbers of the smallest cover of [first, end), none shallower than depth 5."""
    out = []
    while first < end:
        depth = 12
        while depth > deepest_up:
            size = 1 << (13 - depth)
            if first % size or first + size > end:
                break
            depth -= 1
        out.append((1 << depth) + (first >> (12 - depth)))
        first += 1 << (12 - depth)
    return out


class Scope:
    """What every derivation of a channel's generation has in common [S-7, S-9]."""

    def __init__(self, suite, realm, ident, generation):
        self.suite, self.realm, self.ident, self.generation = suite, realm, ident, generation

    def derive(self, key, label, extra, size):
        base = bytes([self.suite, size]) + self.realm + self.ident + u32(self.generation)
        return derive(self.suite, key, label, base + extra, size)

    def children(self, h, key):
        depth = h.bit_length() - 1
        both = self.derive(key, b"A1-tree", bytes([depth]) + u16(h - (1 << depth)), 32)
        return (2 * h, both[:16]), (2 * h + 1, both[16:])

    def descend(self, node, target):
        """The node `target` at or below `node`."""
        h, key = node
        while h != target:
            below = target >> (target.bit_length() - h.bit_length() - 1)
            h, key = self.children(h, key)[below & 1]
        return h, key

    def sender_key(self, step_secret, step, sender):
        size = 32 if is_siv(self.suite) else 16
        return self.derive(step_secret, b"A1-send", u16(step) + u16(sender), size)

    def beacon_down(self, v, step):
        """v(step) from v(step + 1), or v(4095) from the seed [B-1]"""
        return self.derive(v, b"A1-step", u16(step), 16)

    def lock(self, leaf, to):
        return self.derive(leaf, b"A1-lock", u16(to), 16)


def cut(scope, node, base):
    """[K-5] The parts of a node from base on."""
    first, end = span(node[0])
    if base <= first:
        return [node]
    return [scope.descend(node, h) for h in cover(base, end)]


def cut_all(scope, nodes, base):
    return [part for node in nodes for part in cut(scope, node, base)]


def insert_node(scope, nodes, node, lease, base):
    """[K-5, K-6] Returns the status and the nodes afterwards."""
    if not 32 <= node[0] < 8192:
        return "BAD_NODE", nodes
    first, end = span(node[0])
    if first < lease[0] or end - 1 > lease[1]:
        return "BAD_NODE", nodes
    held = {step for h, _ in nodes for step in range(*span(h))}
    parts = [p for p in cut(scope, node, base) if not held.issuperset(range(*span(p[0])))]
    if not parts:
        return "HELD", nodes
    inside = lambda h: any(span(p)[0] <= span(h)[0] and span(h)[1] <= span(p)[1] for p, _ in parts)
    after = sorted([n for n in nodes if not inside(n[0])] + parts, key=lambda n: span(n[0])[0])
    for j, (h, _) in enumerate(after):
        steps = span(h)[1] - span(h)[0]
        if max(1, steps.bit_length() - 1) + len(after) - 1 - j > 8:
            return "LEASE_FULL", nodes
    return "OK", after


def leaf(scope, nodes, step):
    """The step secret, or None."""
    for node in nodes:
        first, end = span(node[0])
        if first <= step < end:
            return scope.descend(node, 4096 + step)[1]
    return None


# ---------------------------------------------------------------------------------------------
# replay window: section 9. An epoch is (generation, step), and tuples compare as epochs do.


class Window:
    def __init__(self, epoch, counter):
        self.epoch, self.top, self.bits = epoch, counter, 1  # [W-4]

    def check(self, counter):
        if counter > self.top:
            return "OK"
        if self.top - counter > 63:
            return "CLOSED"
        return "REPLAYED" if self.bits >> (self.top - counter) & 1 else "OK"

    def accept(self, counter):
        if counter > self.top:
            self.bits = (self.bits << (counter - self.top) | 1) & MASK64
            self.top = counter
        else:
            self.bits |= 1 << (self.top - counter)


class Row:
    """One sender of a channel."""

    def __init__(self, channel, sender):
        self.channel, self.sender = channel, sender
        self.n1 = self.n0 = self.key = self.parts = None
        self.closed_below = False
        self.bound = 0

    def check(self, epoch, counter):
        if self.n1 is None or epoch > self.n1.epoch:
            return "OK"  # [W-2]
        for n in (self.n1, self.n0):
            if n is not None and n.epoch == epoch:
                return n.check(counter)  # [W-1]
        if self.n0 is not None:
            return "CLOSED" if epoch < self.n0.epoch else "OK"  # [W-3]
        return "CLOSED" if self.closed_below else "OK"

    def accept(self, epoch, counter):
        if self.n1 is None:
            self.n1 = Window(epoch, counter)
        elif epoch > self.n1.epoch:
            self.n0, self.n1 = self.n1, Window(epoch, counter)
            self.closed_below = False
            self.bound = 0
        elif epoch == self.n1.epoch:
            self.n1.accept(counter)
        elif self.n0 is not None and epoch == self.n0.epoch:
            self.n0.accept(counter)
        else:
            self.n0 = Window(epoch, counter)

    def restore(self, epoch, bound):
        """[W-6]"""
        self.n1 = Window(epoch, bound - 1)
        self.n1.bits = MASK64
        self.n0 = None
        self.closed_below = True
        self.bound = bound


# ---------------------------------------------------------------------------------------------
# the device


class Own:
    """Counters of a sender number of ours [P-1]."""

    def __init__(self):
        self.block = 16  # [P-3]: it grows until the next boot, whatever becomes of the counters
        self.restart()

    def restart(self):
        self.step = self.counter = self.limit = 0
        self.granted = False


Previous = namedtuple("Previous", "first leaves form f8 flags sender will")


class Channel:
    def __init__(self, ident):
        self.ident = ident
        self.generation = self.step = self.first = self.open = self.to = 0
        self.form = self.f8 = self.la = self.flags = self.sender = self.will = 0
        self.v = ZERO16
        self.lock = ZERO16
        self.hold = 0
        self.nodes = []
        self.previous = None
        self.own, self.will_own = Own(), Own()

    late = property(lambda self: self.la & 15)
    ahead = property(lambda self: self.la >> 4)
    base = property(lambda self: max(self.step - self.late, 0))
    narrow = property(lambda self: bool(self.flags & 4))
    shut = property(lambda self: self.hold == 0xFFFF)  # [T-8]
    mark_block = property(lambda self: (1, 16, 64)[self.flags >> 3 & 3])

    def params(self):
        """What a generation fixes [C-10]."""
        return (self.form, self.f8, self.la, self.flags & 0x7F, self.sender, self.will, self.first)

    def parameters_of(self, generation):
        """form, F, flags, sender and will of the held or the previous generation."""
        p = self if generation == self.generation else self.previous
        return p.form, 8 * p.f8, p.flags, p.sender, p.will


def tag_size(form):
    return 8 if form & 0x10 else 16


def a16(form, f8, sender, generation, step, counter, topic_len):
    """[F-1]"""
    return struct.pack("<BBHIHHHH", form, f8, sender, generation, step, counter, 0, topic_len)


def seal_frame(form, f8, sender, generation, step, counter, topic, ident, bound_to_topic, key, part, chunk):
    """One frame of section 6; `ident` is the ad of topic mode 1."""
    t = tag_size(form)
    ad, topic_len = (topic, len(topic)) if bound_to_topic else (ident, 0xFFFF)
    text = bytes([part]) + chunk + b"\x80"
    text += bytes(8 * f8 - 6 - t - len(text))
    nonce = a16(form, f8, sender, generation, step, counter, topic_len)
    c, tag, _ = seal(form >> 2 & 3, key, nonce, ad, text, t)
    hint = (generation & 15) << 4 | step & 15
    return struct.pack("<BBHH", form, hint, sender, counter) + c + tag


def open_frame(frame, generation, step, topic, ident, bound_to_topic, key):
    """Returns part and chunk; BAD_TAG or BAD_PADDING."""
    form, _, sender, counter = struct.unpack("<BBHH", frame[:6])
    t = tag_size(form)
    ad, topic_len = (topic, len(topic)) if bound_to_topic else (ident, 0xFFFF)
    nonce = a16(form, len(frame) // 8, sender, generation, step, counter, topic_len)
    text = open_sealed(form >> 2 & 3, key, nonce, ad, frame[6:-t], frame[-t:])
    if text is None:
        raise Refused("BAD_TAG")
    body = text[1:].rstrip(b"\x00")
    if text[0] & 0x40 or not body.endswith(b"\x80"):
        raise Refused("BAD_PADDING")
    return text[0], body[:-1]


class Device:
    """Calls give a status, and leave what else they give in `text`, `payloads`, `record`, `asks`."""

    CONTROL_FRAME = 128

    def __init__(self, realm, ident, key, boot_nonce=ZERO8, kind=0, channels=4, senders=8, suites=15,
                 layout=1, frame_max=1024, storage_key=None):  # fmt: skip
        self.realm, self.ident = realm, ident
        self.kind, self.slots, self.senders, self.suites = kind, channels, senders, suites
        self.layout, self.frame_max = layout, frame_max
        self.leaves_kept, self.rows_in_chunk = (4, 13) if layout == 1 else (15, 20)
        self.boot_nonce = boot_nonce if kind == 1 else ZERO8
        self.storage_key = storage_key or Scope(0, realm, ident, 0).derive(key, b"A1-stor", b"", 32)
        self.version, self.key, self.next_key = 0, key, None
        self.session, self.heard = None, False
        self.revision = 0
        self.echo, self.statuses = ZERO8, []
        self.channels = [None] * channels
        self.rows = []
        self.sequence = self.highest_sequence = self.boot_sequence = self.mark_number = 0
        self.failures = 0
        self.credit, self.busy_count = 16, 0
        self.pause = 0  # payloads until beacons are tried again [B-4]
        self.pending = None  # ("mark", then) or ("blob", then)
        self.blob_due = False
        self.order, self.must_store = (0, 1), False  # of slots, when a blob is stored; after loading [T-7, T-8]
        self.lost = False
        self._clear_outputs()

    def _clear_outputs(self):
        self.text, self.payloads, self.record, self.asks, self.position = None, [], None, False, None

    # --- helpers

    def channel(self, ident):
        for c in self.channels:
            if c is not None and c.ident == ident:
                return c
        raise Refused("NO_CHANNEL")

    def scope(self, channel, generation=None, form=None):
        form = channel.form if form is None else form
        return Scope(form >> 2 & 3, self.realm, channel.ident, generation or channel.generation)

    def _call(self, work, *args, changes_nothing=False):
        """Runs one call of section 15 and turns a refusal into its status."""
        self._clear_outputs()
        try:
            if self.lost:
                raise Refused("NO_IDENTITY")
            return work(*args) or "OK"
        except Refused as refusal:
            if refusal.status in ("BAD_TAG", "UNKNOWN_EPOCH"):
                self.failures += 1
                self.asks = self.failures & (self.failures - 1) == 0
            return refusal.status

    def _no_pending(self):
        if self.blob_due:
            raise Refused("PENDING")
        if self.pending is not None:
            raise Refused("BAD_ORDER")

    # --- control: section 10

    def _control_key(self, version, step, sender):
        key = self.key if version == self.version else self.next_key
        return Scope(0, self.realm, self.ident, version).sender_key(key if step == 0 else self.session, step, sender)

    def control(self, payload, topic):
        return self._call(self._control, payload, topic)

    def _control(self, payload, topic):
        self._no_pending()
        self.pause = max(0, self.pause - 1)
        count = len(payload) // 128
        if len(payload) % 128 or not 1 <= count <= 8:
            raise Refused("BAD_LENGTH")
        frames = [payload[i * 128 : i * 128 + 128] for i in range(count)]
        version, step, chunks, revision = self._verify_control(frames, topic)
        if self.kind == 0 and step == 1:
            raise Refused("NO_SESSION")
        if self.kind != 0 and step == 0 and not (count == 1 and chunks[0][:1] == b"\x06"):
            raise Refused("NO_SESSION")
        if self.kind != 0 and step == 0 and chunks[0][1:9] != self.boot_nonce:
            raise Refused("BAD_SESSION")
        if revision < self.revision:
            raise Refused("OLD_REVISION")
        if step == 1:
            self.heard = True  # [C-18]
        if revision == self.revision:
            for chunk in chunks:
                if chunk[0:1] == b"\x08" and len(chunk) == 9:
                    self.echo = chunk[1:]
            return "OK"
        return self._apply(version, step, chunks, revision)

    def _verify_control(self, frames, topic):
        """[C-4] Every frame before any is applied."""
        chunks, version, step, revision = [], None, None, None
        for index, frame in enumerate(frames):
            form, hint, sender, counter = struct.unpack("<BBHH", frame[:6])
            if form != 0:
                raise Refused("BAD_FORM")
            if index == 0:
                first_hint = hint
                step = hint & 15
                if hint >> 4 == self.version % 16:
                    version = self.version
                elif self.next_key is not None and hint >> 4 == (self.version + 1) % 16:
                    version = self.version + 1
                else:
                    raise Refused("UNKNOWN_EPOCH")
                if step > 1:
                    raise Refused("UNKNOWN_EPOCH")
                if step == 1 and self.session is None:
                    raise Refused("NO_SESSION")
                key = self._control_key(version, step, 0)
            if hint != first_hint or sender != 0 or counter != index:
                raise Refused("BAD_PART")
            part, chunk = open_frame(frame, version, step, topic, b"", True, key)
            if part != index | (0x80 if index == len(frames) - 1 else 0) or len(chunk) < 8:
                raise Refused("BAD_PART")
            (this,) = struct.unpack("<Q", chunk[:8])
            if revision is not None and this != revision:
                raise Refused("BAD_PART")
            revision = this
            chunks.append(chunk[8:])
        return version, step, chunks, revision

    def _apply(self, version, step, chunks, revision):
        """[C-5, C-6, C-16]"""
        before = self._stored_state()
        if version == self.version + 1:
            self.version, self.key, self.next_key = version, self.next_key, None
        self.statuses = []
        for chunk in chunks:
            try:
                status = self._command(chunk, step) or "OK"
            except Refused as refusal:
                status = refusal.status
            self.statuses.append(STATUS[status])
        self.revision = revision
        self.failures = 0
        if self.kind == 0 and self._stored_state() != before:
            self.blob_due = True
            return "STORE_BLOB"
        return "OK"

    def _stored_state(self):
        """What decides whether a revision must be stored [C-6]."""
        channels = []
        for c in self.channels:
            if c is not None:
                own = [(o.step, o.counter, o.limit) for o in (c.own, c.will_own)]
                nodes, v = list(c.nodes), c.v
                channels.append((c.ident, c.generation, c.step, c.open, c.to, c.flags, c.params(), v, c.lock, own, nodes, c.previous))  # fmt: skip
        rows = [(r.channel, r.sender) for r in self.rows]
        return self.version, self.key, self.next_key, channels, rows

    SIZES = {1: 44, 3: 8, 4: 0, 5: 36, 6: 24, 7: 24, 8: 8}

    def _command(self, chunk, step):
        if not chunk:
            raise Refused("BAD_COMMAND")
        code, body = chunk[0], chunk[1:]
        if code == 2:
            if len(body) < 13 or not 1 <= body[12] <= 4 or len(body) != 13 + 18 * body[12]:
                raise Refused("BAD_COMMAND")
        elif code not in self.SIZES or len(body) != self.SIZES[code]:
            raise Refused("BAD_COMMAND")
        names = ["set_channel", "add_nodes", "drop_channel", "reset", "ratchet", "grant_session", "grant_counters", "query"]
        handler = getattr(self, "_" + names[code - 1])
        return handler(body, step) if code == 6 else handler(body)

    def _set_channel(self, body):
        ident, generation, step, first, opened, to, form, f8, la, flags, sender, will, v = struct.unpack(
            "<8sIHHHHBBBBHH16s", body
        )
        suite, t = form >> 2 & 3, tag_size(form)
        if form & 3 or form & 0xE0:
            raise Refused("BAD_COMMAND")
        if not self.suites >> suite & 1 or (self.kind != 0 and not is_siv(suite)):
            raise Refused("BAD_SUITE")
        late, ahead = la & 15, la >> 4
        if (
            not (24 if t == 8 else 32) <= 8 * f8 <= self.frame_max
            or late > 7 or ahead > 7 or late < ahead + 1 or late + ahead > self.leaves_kept - 1
            or flags & 0x60 or flags >> 3 & 3 == 3
            or generation == 0 or max(step, first, opened, to) > 4095 or first > to or sender == 0 or sender == will
        ):  # fmt: skip
            raise Refused("BAD_COMMAND")
        try:
            c = self.channel(ident)
        except Refused:
            if None not in self.channels:
                raise Refused("CHANNEL_FULL") from None
            c = Channel(ident)
            self.channels[self.channels.index(None)] = c
        else:
            if generation < c.generation:
                raise Refused("OLD_GENERATION")
            if generation == c.generation:
                return self._update_channel(c, step, opened, to, flags, v, (form, f8, la, flags & 0x7F, sender, will, first))
            self._keep_previous(c, generation, flags)
        c.generation, c.step, c.first, c.open, c.to, c.v = generation, step, first, opened, to, v
        c.form, c.f8, c.la, c.flags, c.sender, c.will = form, f8, la, flags, sender, will
        c.nodes, c.lock, c.hold = [], ZERO16, 0
        c.own.restart()
        c.will_own.restart()
        self._expire_previous(c)

    def _update_channel(self, c, step, opened, to, flags, v, params):
        """[C-10]"""
        if c.params() != params:
            raise Refused("BAD_CHANGE")
        c.flags = flags
        if step > c.step:
            self._move(c, step, v)
        c.open = max(c.open, opened)
        if to > c.to:
            c.to, c.lock = to, ZERO16

    def _keep_previous(self, c, generation, flags):
        """[C-11]"""
        kept = []
        first = None
        if flags & 0x80 and generation == c.generation + 1 and not c.shut:
            scope = self.scope(c)
            for step in range(max(c.base, c.open), min(c.step + c.ahead, 4095) + 1):
                secret = leaf(scope, c.nodes, step)
                if secret is None and kept:
                    break
                if secret is not None:
                    first = step if first is None else first
                    kept.append(secret)
        if kept:
            c.previous = Previous(first, tuple(kept), c.form, c.f8, c.flags, c.sender, c.will)
        else:
            c.previous = None
            self.rows = [r for r in self.rows if r.channel != c.ident]

    def _expire_previous(self, c):
        if c.previous is not None and c.step > c.late:
            c.previous = None

    def _move(self, c, step, v):
        """Only the server moves current [B-5]."""
        c.step, c.v = step, v
        c.nodes = cut_all(self.scope(c), c.nodes, c.base)
        self._expire_previous(c)

    def _add_nodes(self, body):
        c = self.channel(body[:8])
        if struct.unpack("<I", body[8:12])[0] != c.generation:
            raise Refused("UNKNOWN_EPOCH")
        scope = self.scope(c)
        refusal, held = None, 0
        for h, key in struct.iter_unpack("<H16s", body[13:]):
            status, c.nodes = insert_node(scope, c.nodes, (h, key), (c.first, c.to), c.base)
            if status == "OK" and c.lock == ZERO16:
                last = leaf(scope, c.nodes, c.to)
                if last is not None:
                    c.lock = scope.lock(last, c.to)  # [K-7]
            held += status == "HELD"
            if status not in ("OK", "HELD"):
                refusal = refusal or status
        return refusal or ("HELD" if held == body[12] else "OK")

    def _drop_channel(self, body):
        self._drop(self.channel(body))

    def _drop(self, c):
        self.channels[self.channels.index(c)] = None
        self.rows = [r for r in self.rows if r.channel != c.ident]

    def _reset(self, _body):
        for c in self.channels:
            if c is not None:
                self._drop(c)

    def _ratchet(self, body):
        (target,) = struct.unpack("<I", body[:4])
        if self.kind != 0:
            raise Refused("BAD_RATCHET")
        if target == self.version or (target == self.version + 1 and self.next_key is not None):
            return
        if target != self.version + 1:
            raise Refused("BAD_RATCHET")
        self.next_key = Scope(0, self.realm, self.ident, self.version).derive(self.key, b"A1-next", body[4:], 16)

    def _grant_session(self, body, step):
        if step != 0 or self.kind == 0:
            raise Refused("BAD_COMMAND")
        self._reset(b"")
        self.session = Scope(0, self.realm, self.ident, self.version).derive(self.key, b"A1-sess", body, 16)
        self.heard = False

    def _grant_counters(self, body):
        ident, generation, step, sender, first, end = struct.unpack("<8sIHHII", body)
        if self.kind == 0:
            raise Refused("BAD_COMMAND")
        c = self.channel(ident)
        if generation != c.generation:
            raise Refused("UNKNOWN_EPOCH")
        if sender not in (c.sender, c.will) or sender == 0 or not first <= end <= 65536 or step > c.to:
            raise Refused("BAD_COMMAND")
        own = c.own if sender == c.sender else c.will_own
        own.step, own.counter, own.limit, own.granted = step, first, end, True

    def _query(self, body):
        self.echo = body

    def sync_digest(self):
        """[C-19]"""
        total = 0
        for c in self.channels:
            if c is not None:
                extra = struct.pack("<HHHBBBBHH", c.first, c.open, c.to, c.form, c.f8, c.la, c.flags, c.sender, c.will)
                entry = self.scope(c).derive(c.lock, b"A1-sync", extra, 16)
                total ^= int.from_bytes(entry, "little")
        return total.to_bytes(16, "little")

    def ack(self, topic):
        return self._call(self._answer, topic, 1, ZERO8)

    def hello(self, topic, want=ZERO8):
        return self._call(self._answer, topic, 0, want)

    def _answer(self, topic, counter, want):
        """[C-17, C-18]"""
        self._no_pending()
        if counter == 1 and self.kind != 0 and self.session is None:
            raise Refused("NO_SESSION")
        step = int(self.session is not None and (counter == 1 or self.heard))
        self.heard = self.heard and counter == 1
        version = self.version + (self.next_key is not None)
        boot = 0xFFFFFFFF if any(c is not None and c.shut for c in self.channels) else self.boot_sequence
        chunk = struct.pack(
            "<Q8s8s16sIIIBBHHBB8sB8s", self.revision, self.echo, self.boot_nonce, self.sync_digest(), self.sequence, boot,
            version, self.kind, self.suites & (15 if self.kind == 0 else 5), self.slots, min(self.senders, 65535), self.frame_max // 8,
            self.leaves_kept - 1, want, len(self.statuses), bytes(self.statuses),
        )  # fmt: skip
        key = self._control_key(version, step, 1)
        self.payloads = [seal_frame(0, 16, 1, version, step, counter, topic, b"", True, key, 0x80, chunk)]

    # --- beacon: section 5

    def beacon(self, ident, payload):
        return self._call(self._beacon, ident, payload)

    def _beacon(self, ident, payload):
        self._no_pending()
        c = self.channel(ident)
        if self.pause:
            raise Refused("BUSY")
        if len(payload) != 25 or payload[0] != c.form:
            raise Refused("BAD_BEACON")
        generation, step = struct.unpack("<II", payload[1:9])
        if generation != c.generation:
            raise Refused("UNKNOWN_EPOCH")
        if step <= c.step:
            raise Refused("OLD_BEACON")
        if step > 4095 or step - c.step > 256:
            raise Refused("FAR_BEACON")
        scope, v = self.scope(c), payload[9:]
        for s in range(step - 1, c.step - 1, -1):
            v = scope.beacon_down(v, s)
        if not hmac.compare_digest(v, c.v):
            self.pause = 16
            raise Refused("BAD_BEACON")
        self._move(c, step, payload[9:])

    def tick(self):
        return self._call(self._tick)

    def _tick(self):
        self.credit = min(16, self.credit + 1)
        self.pause = 0

    # --- sending: section 7

    def protect(self, ident, text, topic, will=False):
        return self._call(self._protect, ident, text, topic, will)

    def _protect(self, ident, text, topic, will):
        self._no_pending()
        c = self.channel(ident)
        own, sender = (c.will_own, c.will) if will else (c.own, c.sender)
        suite, room = c.form >> 2 & 3, 8 * c.f8 - tag_size(c.form) - 8
        if sender == 0 or len(topic) > 1024:
            raise Refused("BAD_ARGUMENT")
        chunks = [text[i : i + room] for i in range(0, max(1, len(text)), room)]
        if len(chunks) > 64:
            raise Refused("BAD_ARGUMENT")
        if self.kind == 2 and len(chunks) > 1:
            raise Refused("SINGLE_ONLY")
        if c.step < c.first:
            raise Refused("NOT_YET")
        step, counter, limit = self._place(c, own, len(chunks))
        secret = leaf(self.scope(c), c.nodes, step)
        if secret is None:
            raise Refused("NO_LEASE")
        if (c.shut or not is_siv(suite)) and step < c.hold:
            raise Refused("HOLD")

        def finish():
            own.step, own.counter = step, counter + len(chunks)
            key = self.scope(c).sender_key(secret, step, sender)
            frames = []
            for i, chunk in enumerate(chunks):
                part = i | (0x80 if i == len(chunks) - 1 else 0)
                frames.append(seal_frame(c.form, c.f8, sender, c.generation, step, counter + i, topic, c.ident, not c.flags & 1, key, part, chunk))  # fmt: skip
            self.payloads = frames if c.narrow else [b"".join(frames)]
            self.position = (c.generation, step, counter, len(frames))

        if counter + len(chunks) <= limit:
            finish()
            return "OK"
        limit = min(65536, counter + max(own.block, len(chunks)))

        def stored():
            own.step, own.limit = step, limit
            own.block = min(1024, 2 * own.block)
            finish()

        return self._store_mark(c.ident, c.generation, limit, step, sender, 1 if will else 0, stored)

    def _place(self, c, own, count):
        """[P-2, P-4] Step, counter and limit for a message of so many frames."""
        step, counter, limit = (own.step, own.counter, own.limit) if own.step >= c.step else (c.step, 0, 0)
        if self.kind != 0:
            if not own.granted or own.step < c.step or counter + count > limit:
                raise Refused("NO_GRANT")
        elif counter + count > 65536:
            step, counter, limit = step + 1, 0, 0
        if step > c.step + c.ahead:
            raise Refused("EXHAUSTED")
        if step > c.to:
            raise Refused("EXPIRED")
        return step, counter, limit

    # --- receiving: section 8

    def unprotect(self, ident, payload, topic, stored=False):
        return self._call(self._unprotect, ident, payload, topic, stored)

    def _unprotect(self, ident, payload, topic, stored):
        self._no_pending()
        self.pause = max(0, self.pause - 1)
        c = self.channel(ident)
        if stored and not c.flags & 2:
            raise Refused("NO_STORED_MODE")
        if len(topic) > 1024:
            raise Refused("BAD_ARGUMENT")
        size, form = self._expected(c, payload)
        count = len(payload) // size
        if len(payload) % size or not 1 <= count <= (1 if c.narrow else 64):
            raise Refused("BAD_LENGTH")
        first = row = key = None
        text = b""
        for i in range(count):
            frame = payload[i * size : i * size + size]
            epoch, sender, counter = self._locate(c, frame, form)
            if first is None:
                first = (epoch, sender, counter)
            elif (epoch, sender, counter) != (first[0], first[1], first[2] + i):
                raise Refused("BAD_PART")
            if not stored:
                row = row or self._row(c, sender)
                verdict = row.check(epoch, counter)
                if verdict != "OK":
                    raise Refused(verdict)
            if key is None:
                key = self._key(c, epoch, sender, row, stored)
            _, _, flags, _, _ = c.parameters_of(epoch[0])
            part, chunk = open_frame(frame, *epoch, topic, c.ident, not flags & 1, key)
            last = i == count - 1
            if not flags & 4 and (part & 63 != i or bool(part & 0x80) != last):
                raise Refused("BAD_PART")
            if not last and len(chunk) != size - tag_size(form) - 8:
                raise Refused("BAD_PART")
            text += chunk
        self.credit = min(16, self.credit + count)
        epoch, sender, counter = first[0], first[1], first[2] + count - 1
        position = (sender, *epoch, counter, part)
        if stored:
            self.text, self.position = text, position
            return "OK"

        def finish():
            if row not in self.rows:
                self.rows.append(row)
            for x in range(first[2], counter + 1):
                row.accept(epoch, x)
            if row.n1.epoch == epoch:
                row.key = (epoch, key)
            self.position = position
            if c.narrow:
                return self._join(row, epoch, counter, part, text)
            self.text = text
            return "OK"

        newer = row.n1 is None or epoch > row.n1.epoch
        if self.kind == 0 and (newer or (epoch == row.n1.epoch and counter >= row.bound)):
            bound = min(counter + c.mark_block, 65536)

            def stored_mark():
                status = finish()
                if row.n1.epoch == epoch:
                    row.bound = bound
                return status

            return self._store_mark(c.ident, epoch[0], bound, epoch[1], sender, 2, stored_mark)
        return finish()

    def _join(self, row, epoch, counter, part, chunk):
        """[R-9] Narrow mode: the parts of a message come as payloads in order."""
        begun, row.parts = row.parts, None
        if part & 63 == 0:
            text = chunk
        elif begun is not None and begun[0] == (epoch, counter, part & 63):
            text = begun[1] + chunk
        else:
            return "GAP"
        if part & 0x80:
            self.text = text
            return "OK"
        row.parts = ((epoch, counter + 1, (part & 63) + 1), text)
        return "MORE"

    def _expected(self, c, payload):
        """[R-1] F and form by the hint of the first frame."""
        generation = c.generation
        if len(payload) > 1 and c.previous is not None:
            high = payload[1] >> 4
            if high != c.generation % 16 and high == (c.generation - 1) % 16:
                generation -= 1
        form, size, *_ = c.parameters_of(generation)
        return size, form

    def _locate(self, c, frame, form):
        """[R-1..R-5] Epoch, sender and counter of a frame."""
        this, hint, sender, counter = struct.unpack("<BBHH", frame[:6])
        if this != form:
            raise Refused("BAD_FORM")
        high, low = hint >> 4, hint & 15
        if high == c.generation % 16:
            step = c.base + (low - c.base) % 16
            epoch = (c.generation, step)
            if step < c.open:
                raise Refused("CLOSED")
            if not any(span(h)[0] <= step < span(h)[1] for h, _ in c.nodes):
                raise Refused("NO_LEASE")
        elif c.previous is not None and high == (c.generation - 1) % 16:
            p = c.previous
            steps = [s for s in range(p.first, p.first + len(p.leaves)) if s & 15 == low]
            if not steps:
                raise Refused("UNKNOWN_EPOCH")
            epoch = (c.generation - 1, steps[0])
        else:
            raise Refused("UNKNOWN_EPOCH")
        if c.shut:
            raise Refused("CLOSED")
        _, _, _, own, will = c.parameters_of(epoch[0])
        if sender == own or (will != 0 and sender == will):
            raise Refused("REFLECTED")
        return epoch, sender, counter

    def _key(self, c, epoch, sender, row, stored):
        """[R-14] The sender key, for credit unless cached."""
        if row is None:
            row = next((r for r in self.rows if r.channel == c.ident and r.sender == sender), None)
        if not stored and row is not None and row.key is not None and row.key[0] == epoch:
            return row.key[1]
        if self.credit == 0:
            self.busy_count += 1
            if self.busy_count % 16 == 0:
                self.credit = 8
            raise Refused("BUSY")
        self.credit -= 1
        form, *_ = c.parameters_of(epoch[0])
        scope = self.scope(c, epoch[0], form)
        if epoch[0] == c.generation:
            secret = leaf(scope, c.nodes, epoch[1])
        else:
            secret = c.previous.leaves[epoch[1] - c.previous.first]
        return scope.sender_key(secret, epoch[1], sender)

    def _row(self, c, sender):
        """[R-6, W-7] The row of a sender, perhaps one not yet in the table."""
        for row in self.rows:
            if row.channel == c.ident and row.sender == sender:
                return row
        if sender != 0 and sum(r.sender != 0 for r in self.rows) >= self.senders:
            free = next((r for r in self.rows if r.sender != 0 and not self._readable(r)), None)
            if free is None:
                raise Refused("NO_ROOM")
            self.rows.remove(free)
        return Row(c.ident, sender)

    def _readable(self, row):
        try:
            c = self.channel(row.channel)
        except Refused:
            return False
        generation, step = row.n1.epoch
        if generation == c.generation:
            return step >= c.base
        p = c.previous
        return p is not None and generation == c.generation - 1 and p.first <= step

    # --- storage: section 12

    def _record_key(self, kind, chunk, sequence, number, previous):
        nonce = struct.pack("<BBHII4x", kind, self.layout, chunk, sequence, number)
        return self.storage_key, nonce, self.realm + self.ident + previous

    def _store_mark(self, ident, generation, bound, step, sender, what, then):
        """[T-5]"""
        self.mark_number += 1
        text = struct.pack("<8sIIHHB3x", ident, generation, bound, step, sender, what)
        c, tag, _ = seal(0, *self._record_key(2, 0, self.sequence, self.mark_number, ZERO16), text)
        self.record = u32(self.sequence) + u32(self.mark_number) + c + tag
        self.pending = then
        return "STORE_MARK"

    def confirm(self, stored):
        return self._call(self._confirm, stored)

    def _confirm(self, stored):
        if self.pending is None:
            raise Refused("BAD_ORDER")
        then, self.pending = self.pending, None
        return then() if stored else "OK"

    def save_blob(self, sequence):
        return self._call(self._save_blob, sequence)

    def _save_blob(self, sequence):
        if self.pending is not None:
            raise Refused("BAD_ORDER")
        if self.kind != 0 or sequence <= self.highest_sequence:
            raise Refused("BAD_ARGUMENT")
        self.highest_sequence = sequence
        self.record = self._blob(sequence)

        def stored():
            self.sequence, self.mark_number = sequence, 0
            self.blob_due = False

        self.pending = stored
        return "STORE_BLOB"

    def _blob(self, sequence):
        held = [c for c in self.channels if c is not None]
        # Any order will do [T-3]; this one is that of the vectors.
        rows = [r for c in held for r in sorted(self.rows, key=lambda r: r.sender != 0) if r.channel == c.ident]
        device = struct.pack(
            "<Q8s8xIB3x16s16sB8s", self.revision, self.echo, self.version, self.next_key is not None, self.key,
            self.next_key or ZERO16, len(self.statuses), bytes(self.statuses),
        )  # fmt: skip
        packed = [
            struct.pack("<8sIIHHB3x", r.channel, r.n1.epoch[0], r.bound, r.n1.epoch[1], r.sender, 2) for r in rows
        ]
        most = self.rows_in_chunk
        texts = [device] + [self._pack_channel(c) for c in held]
        texts += [ZERO8 + b"".join(packed[i : i + most]) for i in range(0, len(packed) + 1, most)]
        out = previous = b"AMPB" + struct.pack("<B3xI4x", self.layout, sequence)
        for i, text in enumerate(texts):
            text = text.ljust(8 + 24 * most, b"\x00")
            c, previous, _ = seal(0, *self._record_key(1, i, sequence, 0, previous), text)
            out += c + previous
        return out

    def _pack_channel(self, c):
        """[T-4]"""
        p = c.previous or Previous(0, (), 0, 0, 0, 0, 0)
        out = struct.pack("<8sIHHHHBBBBHH16s16s", c.ident, c.generation, c.step, c.first, c.open, c.to, c.form, c.f8, c.la,
                          c.flags, c.sender, c.will, c.v, c.lock)  # fmt: skip
        for own in (c.own, c.will_own):
            out += struct.pack("<HHI", own.step, 0, own.limit)
        out += struct.pack("<HHBBBBHH", c.hold, p.first, p.form, p.f8, len(p.leaves), p.flags, p.sender, p.will)
        out += b"".join(p.leaves).ljust(16 * self.leaves_kept, b"\x00")
        return out + b"".join(u16(h) + key for h, key in c.nodes).ljust(8 * 18, b"\x00")

    def _unpack_channel(self, text):
        c = Channel(text[:8])
        (c.generation, c.step, c.first, c.open, c.to, c.form, c.f8, c.la, c.flags, c.sender, c.will, c.v,
         c.lock) = struct.unpack("<IHHHHBBBBHH16s16s", text[8:60])  # fmt: skip
        for own, at in ((c.own, 60), (c.will_own, 68)):
            own.step, _, own.limit = struct.unpack("<HHI", text[at : at + 8])
            own.counter = own.limit
        c.hold, first, form, f8, count, flags, sender, will = struct.unpack("<HHBBBBHH", text[76:88])
        leaves = tuple(text[88 + 16 * j : 104 + 16 * j] for j in range(count))
        c.previous = Previous(first, leaves, form, f8, flags, sender, will) if count else None
        c.nodes = [(h, key) for h, key in struct.iter_unpack("<H16s", text[88 + 16 * self.leaves_kept :][:144]) if h]
        return c

    def _open_blob(self, blob):
        """Sequence, text of the device, channels and rows of a slot, or None when it does not verify [T-2, T-3]."""
        size = 24 + 24 * self.rows_in_chunk
        if len(blob) < 16 + size or (len(blob) - 16) % size:
            return None
        (sequence,) = struct.unpack("<I", blob[8:12])
        device, channels, rows, ended, previous = None, [], [], False, blob[:16]
        for i, at in enumerate(range(16, len(blob), size)):
            c, previous, before = blob[at : at + size - 16], blob[at + size - 16 : at + size], previous
            text = open_sealed(0, self.storage_key, *self._record_key(1, i, sequence, 0, before)[1:], c, previous)
            if text is None or ended:
                return None
            if i == 0:
                device = text
            elif text[:8] != ZERO8:
                channels.append(text)
            else:
                for at_row in range(8, len(text), 24):
                    if text[at_row : at_row + 8] == ZERO8:
                        ended = True
                        break
                    rows.append(text[at_row : at_row + 24])
        return (sequence, device, channels, rows) if ended else None

    def load(self, slots, marks):
        """[T-6..T-8] After a restart; blank is empty, or all bytes alike 0x00 or 0xFF."""
        blank = lambda s: not s.strip(b"\xff") or not s.strip(b"\x00")
        opened = [self._open_blob(s) for s in slots]
        torn = next((s for o, s in zip(opened, slots) if o is None and not blank(s)), None)
        valid = [o for o in opened if o is not None]
        if not valid and not any(blank(s) for s in slots):
            self.lost = True
            return "BAD_RECORD"
        if valid:
            newest = max(valid, key=lambda o: o[0])
            if opened.index(newest) == 0:  # the other one may be torn, or of before
                self.order, self.must_store = (1, 0, 1), True
            self.sequence = self.boot_sequence = newest[0]
            self._take_blob(*newest[1:])
        broken = [self._take_mark(mark) for mark in marks]
        if torn is not None or any(broken):
            self._after_lost_write(torn or b"", any(broken))
            self.must_store = True
        self.highest_sequence = self.sequence
        return "OK"

    def _take_blob(self, device, channels, rows):
        (self.revision, self.echo, self.version, next_held, self.key, next_key, count,
         statuses) = struct.unpack("<Q8s8xIB3x16s16sB8s", device[:73])  # fmt: skip
        self.next_key = next_key if next_held & 1 else None
        self.statuses = list(statuses[:count])
        for i, text in enumerate(channels):
            self.channels[i] = self._unpack_channel(text)
        for ident, generation, bound, step, sender in (struct.unpack("<8sIIHH", text[:20]) for text in rows):
            row = Row(ident, sender)
            row.restore((generation, step), bound)
            self.rows.append(row)

    def _after_lost_write(self, torn, broken):
        """[T-7, T-8]"""
        found = struct.unpack("<I", torn[8:12])[0] if len(torn) >= 16 else 0
        above = (found - self.sequence) % 2**32
        self.sequence += above if 1 <= above <= 65536 else 1
        for c in filter(None, self.channels):
            for own in (c.own, c.will_own):
                own.limit = own.counter = min(65536, own.limit + 1024)
            c.hold = 0xFFFF if broken or c.shut else c.step + c.ahead + 1
        for row in self.rows:
            row.restore(row.n1.epoch, min(65536, row.bound + self.channel(row.channel).mark_block))

    def _take_mark(self, mark):
        """[T-6, T-8] True for a broken one: it was written to its end, and does not verify."""
        if len(mark) != 48 or mark[40:] == b"\xff" * 8:
            return False
        sequence, number = struct.unpack("<II", mark[:8])
        text = open_sealed(0, self.storage_key, *self._record_key(2, 0, sequence, number, ZERO16)[1:], mark[8:32], mark[32:])
        if text is None:
            return True
        if sequence == self.sequence:
            self.mark_number = max(self.mark_number, number)
        ident, generation, bound, step, sender, what = struct.unpack("<8sIIHHB", text[:21])
        try:
            c = self.channel(ident)
        except Refused:
            return False
        if what in (0, 1):
            own, number = (c.own, c.sender) if what == 0 else (c.will_own, c.will)
            if generation == c.generation and sender == number and (step, bound) > (own.step, own.limit):
                own.step, own.counter, own.limit = step, bound, bound
        elif generation == c.generation or (c.previous is not None and generation == c.generation - 1):
            row = next((r for r in self.rows if r.channel == ident and r.sender == sender), None)
            if row is None:
                row = Row(ident, sender)
                self.rows.append(row)
            elif (generation, step, bound) <= (*row.n1.epoch, row.bound):
                return False
            row.restore((generation, step), bound)
        return False


# ---------------------------------------------------------------------------------------------
# storage: two slots and the marks, as files of a directory


class Store:
    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory, mode=0o700, exist_ok=True)

    def read(self, name):
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def _write(self, name, data, mode):
        with open(os.path.join(self.directory, name), mode) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def write_slot(self, index, data):
        self._write(f"slot{index}", data, "wb")

    def write_storage_key(self, key):
        self._write("storage.key", key, "wb")

    def append_mark(self, mark):
        self._write("marks", mark, "ab")

    def drop_marks(self):
        self._write("marks", b"", "wb")

    def marks(self):
        data = self.read("marks")
        return [data[i : i + 48] for i in range(0, len(data), 48)]


# ---------------------------------------------------------------------------------------------
# MQTT 3.1.1, as much of it as a device needs


class Mqtt:
    CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14

    def __init__(self, host, port, client_id, keep_alive=30):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.next_id = 0
        self.keep_alive = keep_alive
        self.last_sent = 0.0
        self._send(self.CONNECT, 0, self._string(b"MQTT") + b"\x04\x02" + struct.pack(">H", keep_alive) + self._string(client_id.encode()))

    @staticmethod
    def _string(data):
        return struct.pack(">H", len(data)) + data

    def _send(self, kind, flags, body):
        length, size = b"", len(body)
        while True:
            size, low = size >> 7, size & 0x7F
            length += bytes([low | (0x80 if size else 0)])
            if not size:
                break
        self.socket.sendall(bytes([kind << 4 | flags]) + length + body)
        self.last_sent = time.monotonic()

    def _packet_id(self):
        self.next_id = self.next_id % 65535 + 1
        return struct.pack(">H", self.next_id)

    def subscribe(self, filters):
        body = self._packet_id() + b"".join(self._string(f.encode()) + b"\x01" for f in filters)
        self._send(self.SUBSCRIBE, 2, body)

    def publish(self, topic, payload, qos=1, retain=False):
        packet_id = self._packet_id() if qos else b""
        self._send(self.PUBLISH, qos << 1 | retain, self._string(topic.encode()) + packet_id + payload)

    def acknowledge(self, packet_id):
        self._send(self.PUBACK, 0, packet_id)

    def keep_awake(self):
        if time.monotonic() - self.last_sent > self.keep_alive / 2:
            self._send(self.PINGREQ, 0, b"")

    def close(self):
        self._send(self.DISCONNECT, 0, b"")
        self.socket.close()

    def receive(self):
        """Packets that have come, as (kind, flags, body); ConnectionError at the end of the link."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the broker has closed the link")
        self.buffer += data
        while (packet := self._take()) is not None:
            yield packet

    def _take(self):
        size = shift = 0
        at = 1
        while True:
            if at >= len(self.buffer):
                return None
            size |= (self.buffer[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not self.buffer[at - 1] & 0x80:
                break
        if len(self.buffer) < at + size:
            return None
        kind, flags, body = self.buffer[0] >> 4, self.buffer[0] & 15, self.buffer[at : at + size]
        self.buffer = self.buffer[at + size :]
        return kind, flags, body


def matches(topic_filter, topic):
    levels = topic.split("/")
    for i, level in enumerate(topic_filter.split("/")):
        if level == "#":
            return True
        if i >= len(levels) or level not in ("+", levels[i]):
            return False
    return len(levels) == len(topic_filter.split("/"))


# ---------------------------------------------------------------------------------------------
# the member: device, store and broker together

WAIT_FOR = ("NO_CHANNEL", "NOT_YET", "NO_LEASE", "EXHAUSTED", "EXPIRED", "NO_GRANT")


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)


class Member:
    def __init__(self, identity_file, state, host, port, filters):
        """Without a state directory it is a device without storage, class 1."""
        with open(identity_file, encoding="utf-8") as file:
            self.identity = json.load(file)
        self.identity_file = identity_file
        realm, ident = unhex(self.identity["realm"]), unhex(self.identity["device"])
        key = unhex(self.identity["key"])
        if state is None:
            self.store = None
            self.device = Device(realm, ident, key, kind=1, suites=5, boot_nonce=os.urandom(8))
            emit("boot", status="OK", nonce=self.device.boot_nonce.hex())
        else:
            self.store = Store(state)
            self.device = Device(realm, ident, key, storage_key=self.store.read("storage.key") or None)
            self.store.write_storage_key(self.device.storage_key)
            status = self.device.load([self.store.read("slot0"), self.store.read("slot1")], self.store.marks())
            if status == "OK" and self.device.must_store:
                self._save()
            emit("boot", status=status, sequence=self.device.sequence)
        prefix = self.identity["prefix"]
        self.down, self.up = (f"{prefix}/{self.identity['device']}/{way}" for way in ("down", "up"))
        self.filters = {f: digest(b"A1-chan", realm + f.encode(), 8) for f in filters}
        self.epochs = {f"{prefix}/epoch/{c.hex()}": c for c in self.filters.values()}
        self.address = (host, port)
        self.orders, self.input = [], b""
        self.stored, self.ask_again = {}, {}
        self.hello_at, self.hello_pause = None, 1
        self.mqtt = None

    def run(self):
        next_tick = time.monotonic() + 1
        while True:
            if self.mqtt is None:
                self._connect()
            sources = [sys.stdin] + ([self.mqtt.socket] if self.mqtt else [])
            ready, _, _ = select.select(sources, [], [], 0.2)
            if self.mqtt and self.mqtt.socket in ready:
                try:
                    for packet in self.mqtt.receive():
                        self._packet(*packet)
                except OSError:
                    emit("offline")
                    self.mqtt = self.hello_at = None
            if sys.stdin in ready and not self._read_orders():
                return
            if time.monotonic() > next_tick:
                next_tick += 1
                self.device.tick()
                self._retry()
                if self.mqtt:
                    self._hello_until_heard()
                    self.mqtt.keep_awake()

    def _connect(self):
        try:
            self.mqtt = Mqtt(*self.address, f"py-{self.identity['device']}")
        except OSError:
            time.sleep(0.2)

    def _packet(self, kind, flags, body):
        if kind == Mqtt.CONNACK:
            self.mqtt.subscribe([self.down, *self.epochs, *self.filters])
        elif kind == Mqtt.SUBACK:
            emit("ready")
            self.hello_at, self.hello_pause = 0, 1
            self._hello_until_heard()
        elif kind == Mqtt.PUBLISH:
            (size,) = struct.unpack(">H", body[:2])
            topic, at = body[2 : 2 + size].decode(), 2 + size
            packet_id = body[at : at + 2] if flags & 6 else b""
            self._message(topic, body[at + len(packet_id) :], bool(flags & 1))
            if packet_id:
                self.mqtt.acknowledge(packet_id)

    def _hello_until_heard(self):
        """[C-18]"""
        if self.hello_at is not None and time.monotonic() > self.hello_at:
            self.hello_at = time.monotonic() + self.hello_pause
            self.hello_pause = min(60, 2 * self.hello_pause)
            self._hello()

    def _hello(self, want=ZERO8):
        if self.device.hello(self.up.encode(), want) == "OK":
            self.mqtt.publish(self.up, self.device.payloads[0])

    def _message(self, topic, payload, retained):
        if topic == self.down:
            self._control(payload)
        elif topic in self.epochs:
            self._beacon(topic, payload)
        else:
            self._data(topic, payload, retained)
        if self.device.asks:
            self.device.asks = False
            self._hello()

    def _control(self, payload):
        device, before = self.device, self.device.version
        status = device.control(payload, self.down.encode())
        asks = device.asks
        if status == "STORE_BLOB":
            self._save()
            status = "OK"
        if status == "OK":
            self.hello_at, self.ask_again = None, {}
            if device.version > before:
                self._forget_first_key()
            if device.ack(self.up.encode()) == "OK":
                self.mqtt.publish(self.up, device.payloads[0])
        names = {number: name for name, number in STATUS.items()}
        emit("control", status=status, revision=f"{device.revision:016x}", version=device.version,
             next=device.next_key is not None, statuses=[names[s] for s in device.statuses])  # fmt: skip
        self._retry()
        device.asks = asks

    def _beacon(self, topic, payload):
        status = self.device.beacon(self.epochs[topic], payload)
        asks = self.device.asks
        emit("beacon", status=status, step=struct.unpack("<I", payload[5:9])[0] if len(payload) == 25 else None)
        if status == "OK" and self.store is not None:
            self._save()  # so that the keys of steps past are gone from the disk as well
        if status == "OK":
            self._retry()
        self.device.asks = asks

    def _data(self, topic, payload, retained):
        ident = next((c for f, c in self.filters.items() if matches(f, topic)), None)
        if ident is None:
            return
        if not payload:
            emit("cleared", topic=topic)  # [F-7]
            return
        device = self.device
        status = device.unprotect(ident, payload, topic.encode(), retained)
        if status == "STORE_MARK":
            self.store.append_mark(device.record)
            status = device.confirm(True)
        if status == "MORE":
            return
        if status != "OK":
            emit("refused", topic=topic, status=status)
            return
        sender, generation, step, counter, _ = device.position
        if retained and not self._newer(topic, sender, (generation, step, counter)):
            return
        emit("message", topic=topic, text=device.text.decode("utf-8", "replace"), retained=retained, sender=sender,
             generation=generation, step=step, counter=counter)  # fmt: skip

    def _newer(self, topic, sender, position):
        """[R-11]"""
        last = self.stored.get(topic)
        if last is not None and last[0] == sender and position < last[1]:
            return False
        self.stored[topic] = (sender, position)
        return True

    def _save(self):
        """[T-7] Both slots, a sequence each; then the marks of older sequences may go."""
        for slot in self.device.order:
            self.device.save_blob(self.device.highest_sequence + 1)
            self.store.write_slot(slot, self.device.record)
            self.device.confirm(True)
        self.device.order = (0, 1)
        self.store.drop_marks()

    def _forget_first_key(self):
        """[I-1]"""
        self.identity["key"] = ZERO16.hex()
        with open(self.identity_file, "w", encoding="utf-8") as file:
            json.dump(self.identity, file, indent=2)

    def _read_orders(self):
        data = os.read(0, 65536)
        self.input += data
        *lines, self.input = self.input.split(b"\n")
        for line in lines:
            words = line.decode().split(" ", 2)
            if words[0] == "quit":
                if self.mqtt:
                    self.mqtt.close()
                return False
            if words[0] == "dump":
                self._dump()
            elif words[0] == "publish" and len(words) == 3:
                self.orders.append((words[1], words[2]))
                self._retry()
            else:
                emit("error", text=f"unknown order: {words[0]}")
        return bool(data)

    def _retry(self):
        if self.mqtt is None:
            return
        waiting, self.orders = self.orders, []
        for topic, text in waiting:
            ident = next((c for f, c in self.filters.items() if matches(f, topic)), ZERO8)
            device = self.device
            status = device.protect(ident, text.encode(), topic.encode())
            if status == "STORE_MARK":
                self.store.append_mark(device.record)
                status = device.confirm(True)
            if status == "NO_GRANT" and time.monotonic() > self.ask_again.get(ident, 0):
                self.ask_again[ident] = time.monotonic() + 5  # SPEC has no pace for this
                self._hello(want=ident)
            if status in WAIT_FOR:
                self.orders.append((topic, text))
            elif status != "OK":
                emit("refused", topic=topic, status=status)
            else:
                generation, step, counter, frames = device.position
                emit("sent", topic=topic, generation=generation, step=step, counter=counter, frames=frames)
                for payload in device.payloads:
                    self.mqtt.publish(topic, payload)

    def _dump(self):
        device = self.device
        channels = [
            {"id": c.ident.hex(), "generation": c.generation, "step": c.step, "from": c.first, "open": c.open, "to": c.to,
             "sender": c.sender, "nodes": [h for h, _ in c.nodes], "previous": c.previous is not None}
            for c in device.channels if c is not None
        ]  # fmt: skip
        rows = [{"channel": r.channel.hex(), "sender": r.sender, "epoch": r.n1.epoch, "bound": r.bound} for r in device.rows]
        emit("state", revision=f"{device.revision:016x}", version=device.version, next=device.next_key is not None,
             sequence=device.sequence, channels=channels, rows=rows)  # fmt: skip


# ---------------------------------------------------------------------------------------------
# the vectors of section 15


class Mismatch(Exception):
    pass


def expect(got, wanted, what):
    if got != wanted:
        raise Mismatch(f"{what}: got {got!r}, wanted {wanted!r}")


def unhex(text):
    return bytes.fromhex(text)


def play_derivation(d):
    if "message" in d:
        got = digest(d["label"].encode(), unhex(d["message"]), len(d["output"]) // 2)
    else:
        got = derive(d["suite"], unhex(d["key"]), d["label"].encode(), unhex(d["context"]), d["n"])
    expect(got.hex(), d["output"], d["title"])


def play_frame(f):
    scope_key = derive(f["suite"], unhex(f["stepSecret"]), b"A1-send", unhex(f["context"]), len(f["senderKey"]) // 2)
    expect(scope_key.hex(), f["senderKey"], "sender key")
    form = f["suite"] << 2 | (0x10 if f["t"] == 8 else 0)
    topic, bound = f["topic"].encode(), f["topicMode"] == 0
    ident = unhex(f["context"])[10:18]
    frame = seal_frame(form, f["F"] // 8, f["sender"], f["generation"], f["step"], f["counter"], topic, ident, bound,
                       scope_key, f["part"], unhex(f["chunk"]))  # fmt: skip
    expect(frame.hex(), f["frame"], "frame")
    opened = open_frame(frame, f["generation"], f["step"], topic, ident, bound, scope_key)
    expect(opened, (f["part"], unhex(f["chunk"])), "part and chunk")


def play_tree(t):
    for d in (t["root"], t["seed"], *t["derivations"]):
        play_derivation(d)
    scope = Scope(t["suite"], unhex(t["realm"]), unhex(t["channel"]), t["generation"])
    root = (1, scope.derive(unhex(t["secret"]), b"A1-root", b"", 16))
    for n in t["nodes"] + t["leaves"]:
        expect(scope.descend(root, n["h"])[1].hex(), n["key"], f"node {n['h']}")


def play_insert(i, scope, root):
    node = lambda h: (h, scope.descend(root, h)[1] if 0 < h < 8192 else ZERO16)
    lease = (i["lease"]["from"], i["lease"]["to"])
    status, after = insert_node(scope, [node(h) for h in i["held"]], node(i["node"]), lease, i["base"])
    expect(status, i["status"], i["title"])
    expect([h for h, _ in after], i["after"], i["title"])


def play_chain(c):
    for d in c["links"]:
        play_derivation(d)
    scope = Scope(c["suite"], unhex("0102030405060708"), unhex(c["channel"]), c["generation"])
    v, chain = unhex(c["seed"]), {}
    for step in range(4095, -1, -1):
        chain[step] = v = scope.beacon_down(v, step)
    for b in c["beacons"]:
        expect((bytes([c["form"]]) + u32(c["generation"]) + u32(b["step"]) + chain[b["step"]]).hex(), b["beacon"], "beacon")


def play_records(records):
    for r in records:
        c, tag, _ = seal(0, unhex(r["key"]), unhex(r["nonce"]), unhex(r["ad"]), unhex(r["text"]))
        expect((c.hex(), tag.hex()), (r["C"], r["T"]), r["title"])


def play_window(w):
    def window(x):
        if x is None:
            return None
        n = Window((x["generation"], x["step"]), x["top"])
        n.bits = int(x["bits"], 16)
        return n

    def shown(n):
        return n and {"generation": n.epoch[0], "step": n.epoch[1], "top": n.top, "bits": f"{n.bits:016x}"}

    row = Row(b"", 0)
    if w["row"] is not None:
        row.n1, row.n0, row.closed_below = window(w["row"]["n1"]), window(w["row"]["n0"]), w["row"]["closedBelow"]
    epoch = (w["epoch"]["generation"], w["epoch"]["step"])
    status = row.check(epoch, w["counter"])
    expect(status, w["status"], w["title"])
    if status == "OK":
        row.accept(epoch, w["counter"])
        expect({"n1": shown(row.n1), "n0": shown(row.n0), "closedBelow": row.closed_below}, w["after"], w["title"])


def play_script(s):
    options, identity = s["options"], s.get("identity")

    def fresh(boot_nonce, storage_key=None):
        return Device(unhex(identity["realm"]), unhex(identity["device"]), unhex(identity["key"]), boot_nonce,
                      options["class"], options["channels"], options["senders"], options["suites"], options["layout"],
                      options["frameMax"], storage_key)  # fmt: skip

    if identity is None:
        device = Device(ZERO8, ZERO8, ZERO16)
        device.lost = True
    else:
        device = fresh(unhex(identity["bootNonce"]))
    for number, c in enumerate(s["calls"]):
        call, topic = c["call"], c.get("topic", "").encode()
        if call == "control":
            status = device.control(unhex(c["payload"]), topic)
        elif call == "beacon":
            status = device.beacon(unhex(c["channel"]), unhex(c["payload"]))
        elif call == "unprotect":
            status = device.unprotect(unhex(c["channel"]), unhex(c["payload"]), topic, c["stored"])
        elif call == "protect":
            status = device.protect(unhex(c["channel"]), unhex(c["text"]), topic, c["will"])
        elif call == "confirm":
            status = device.confirm(c["stored"])
        elif call == "saveBlob":
            status = device.save_blob(c["sequence"])
        elif call == "ack":
            status = device.ack(topic)
        elif call == "hello":
            status = device.hello(topic, unhex(c["want"]))
        elif call == "tick":
            status = device.tick()
        elif call == "restart":
            device = fresh(unhex(c["bootNonce"]))
            status = device.load([unhex(x) for x in c["slots"]], [unhex(x) for x in c["marks"]])
        else:
            raise Mismatch(f"unknown call {call}")
        got = {"status": status}
        if device.text is not None:
            got["text"] = device.text.hex()
        if device.payloads:
            got["payloads"] = [p.hex() for p in device.payloads]
        if device.record is not None:
            got["record"] = device.record.hex()
        if device.asks:
            got["asks"] = True
        device._clear_outputs()
        expect(got, c["gives"], f"{s['title']}, call {number} ({call})")


def play_vectors(directory):
    """Returns how many vectors agree, and what disagrees."""
    agreed, differs = 0, []

    def load(name):
        with open(os.path.join(directory, name + ".json"), encoding="utf-8") as file:
            return json.load(file)

    def play(name, run, *args):
        nonlocal agreed
        try:
            run(*args)
            agreed += 1
        except Mismatch as mismatch:
            differs.append(f"{name}.json: {mismatch}")

    for f in load("frames"):
        play("frames", play_frame, f)
    tree = load("keytree")
    for t in tree["trees"]:
        play("keytree", play_tree, t)
    for x in tree["covers"]:
        play("keytree", lambda x=x: expect(cover(x["from"], x["to"] + 1), x["nodes"], "cover"))
    first = tree["trees"][0]
    scope = Scope(first["suite"], unhex(first["realm"]), unhex(first["channel"]), first["generation"])
    root = (1, unhex(first["root"]["output"]))
    for x in tree["cuts"]:
        parts = [{"h": h, "key": key.hex()} for h, key in cut(scope, scope.descend(root, x["node"]), x["base"])]
        play("keytree", expect, parts, x["parts"], "cut")
    for x in tree["inserts"]:
        play("keytree", play_insert, x, scope, root)
    for x in tree["digests"]:
        play("keytree", play_derivation, x)
    for x in load("beacon")["chains"]:
        play("beacon", play_chain, x)
    for name in ("control", "blob", "mark"):
        for d in load(name)["derivations"]:
            play(name, play_derivation, d)
    for x in load("blob")["examples"]:
        play("blob", play_records, x["chunks"])
    play("mark", play_records, load("mark")["marks"])
    for x in load("window"):
        play("window", play_window, x)
    for name in ("beacon", "control", "blob", "mark", "messages"):
        for s in load(name)["scripts"]:
            play(name, play_script, s)
    for x in load("refusals"):
        play("refusals", play_script, x["script"])
    return agreed, differs


# ---------------------------------------------------------------------------------------------
# the command line


def main():
    parser = argparse.ArgumentParser(description="An Ampoule device in Python, from SPEC.md alone.")
    parser.add_argument("--vectors", metavar="DIR", help="play the vectors of a directory and end")
    parser.add_argument("--identity", metavar="FILE", help="as `ampoule provision` writes it; its key is overwritten [I-1]")
    parser.add_argument("--state", metavar="DIR", help="slots and marks; without it the device has no storage")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--channel", metavar="FILTER", action="append", default=[])
    options = parser.parse_args()
    if options.vectors is not None:
        agreed, differs = play_vectors(options.vectors)
        for line in differs[:10]:
            print(line[:400])
        print(f"{agreed} agree, {len(differs)} differ")
        return 1 if differs else 0
    if options.identity is None:
        parser.error("--identity is needed")
    Member(options.identity, options.state, options.host, options.port, options.channel).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
