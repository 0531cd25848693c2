import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesToHex, concatBytes, lengthPrefixed, u16, u64, utf8 } from "./bytes.ts";
import { parseClusterId, parseEpoch, parseNodeId, parseTxId, parseValue } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { unwrap } from "./result.ts";
import {
  decodeFrame,
  decodeVote,
  encodeFrame,
  encodeVote,
  extensionBytesOf,
  FRAME_OVERHEAD_BYTES,
  frameBytesOf,
  openFrame,
  rootSigningBytes,
  signFrame,
  type Vote,
  type VoteFrame,
} from "./vote.ts";

interface Fields {
  readonly clusterId: string;
  readonly epoch: number;
  readonly txId: string;
  readonly value: bigint;
  readonly nodeId: string;
  readonly issuedAtMs: number;
}

const FIELDS: Fields = {
  clusterId: "test",
  epoch: 3,
  txId: "tx_1",
  value: 23n,
  nodeId: "node-1",
  issuedAtMs: 1_700_000_000_000,
};

const voteOf = (changes: Partial<Fields> = {}): Vote => {
  const f = { ...FIELDS, ...changes };
  return {
    clusterId: unwrap(parseClusterId(f.clusterId)),
    epoch: unwrap(parseEpoch(f.epoch)),
    txId: unwrap(parseTxId(f.txId)),
    value: unwrap(parseValue(f.value)),
    nodeId: unwrap(parseNodeId(f.nodeId)),
    issuedAtMs: f.issuedAtMs,
  };
};

const votes: fc.Arbitrary<Vote> = fc
  .record({
    clusterId: fc.constantFrom("a", "test", "x".repeat(63)),
    epoch: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    txId: fc.constantFrom("t", "tx_1", "tx_12", "a:b-c.d", "x".repeat(128)),
    value: fc.bigInt({ min: 0n, max: LIMITS.valueMax }),
    nodeId: fc.constantFrom("n", "node-1", "n".repeat(63)),
    issuedAtMs: fc.integer({ min: 0, max: 8_640_000_000_000_000 }),
  })
  .map(voteOf);

const noSign = (): Uint8Array => new Uint8Array(64);
const hex = (vote: Vote): string => bytesToHex(encodeVote(vote));
const flip = (bytes: Uint8Array, at: number, mask: number): Uint8Array =>
  bytes.map((b, i) => (i === at ? b ^ mask : b));

describe("a vote's canonical bytes [R1]", () => {
  it("are fixed for ever: signatures of earlier versions stay valid", () => {
    expect(hex(voteOf())).toBe(
      [
        "000f71756f726174652f766f74652f7631", // quorate/vote/v1
        "000474657374", // test
        "00080000000000000003", // epoch
        "000474785f31", // tx_1
        "00080000000000000017", // value
        "00066e6f64652d31", // node-1
        "00080000018bcfe56800", // time
      ].join(""),
    );
  });

  it('tell "tx_1" and 23 from "tx_12" and 3, which the bare concatenation does not', () => {
    const one = voteOf({ txId: "tx_1", value: 23n });
    const other = voteOf({ txId: "tx_12", value: 3n });
    expect(`${one.txId}${one.value}`).toBe(`${other.txId}${other.value}`);
    expect(hex(one)).not.toBe(hex(other));
  });

  it("differ when any field does, the cluster and the epoch included", () => {
    const changed: Partial<Fields>[] = [
      {},
      { clusterId: "test2" },
      { epoch: 4 },
      { txId: "tx_2" },
      { value: 24n },
      { nodeId: "node-2" },
      { issuedAtMs: FIELDS.issuedAtMs + 1 },
    ];
    expect(new Set(changed.map((c) => hex(voteOf(c)))).size).toBe(changed.length);
  });

  it("decode to the vote that they were made from", () => {
    fc.assert(
      fc.property(votes, (vote) => {
        expect(decodeVote(encodeVote(vote))).toEqual({ ok: true, value: vote });
      }),
    );
  });

  it("are the only ones: a changed, cut or longer leaf is no vote or another vote", () => {
    const edits = fc.record({
      vote: votes,
      at: fc.nat(400),
      mask: fc.integer({ min: 1, max: 255 }),
    });
    fc.assert(
      fc.property(edits, ({ vote, at, mask }) => {
        const leaf = encodeVote(vote);
        const changed = decodeVote(flip(leaf, at % leaf.length, mask));
        if (changed.ok) expect(changed.value).not.toEqual(vote);
        expect(decodeVote(leaf.slice(0, at % leaf.length)).ok).toBe(false);
        expect(decodeVote(concatBytes(leaf, Uint8Array.of(mask))).ok).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  it("are the only ones: whatever decodes, encodes to the same bytes", () => {
    const noise = fc.record({
      vote: votes,
      edits: fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 1, max: 255 })), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(noise, ({ vote, edits }) => {
        let leaf = encodeVote(vote);
        for (const [at, mask] of edits) leaf = flip(leaf, at % leaf.length, mask);
        const decoded = decodeVote(leaf);
        if (decoded.ok) expect(encodeVote(decoded.value)).toEqual(leaf);
      }),
      { numRuns: 1_000 },
    );
  });

  it("fit their limit at their longest", () => {
    const longest = voteOf({
      clusterId: "c".repeat(63),
      txId: "t".repeat(128),
      nodeId: "n".repeat(63),
      value: LIMITS.valueMax,
    });
    expect(encodeVote(longest)).toHaveLength(307);
    expect(encodeVote(longest).length).toBeLessThanOrEqual(LIMITS.voteLeafBytesMax);
  });

  it("are refused when their time is beyond any date", () => {
    const last = encodeVote(voteOf({ issuedAtMs: LIMITS.issuedAtMsMax }));
    expect(decodeVote(last).ok).toBe(true);
    const beyond = Uint8Array.from([
      ...last.slice(0, -8),
      ...u64(BigInt(LIMITS.issuedAtMsMax) + 1n),
    ]);
    expect(decodeVote(beyond)).toMatchObject({ ok: false, error: { code: "MALFORMED" } });
  });

  it.each([-1, 0.5, NaN, LIMITS.issuedAtMsMax + 1, 2 ** 53])(
    "are never made with an issue time of %d",
    (issuedAtMs) => {
      expect(() => encodeVote(voteOf({ issuedAtMs }))).toThrow("issuedAtMs is a time");
    },
  );

  const leafOf = (fields: readonly Uint8Array[]): Uint8Array =>
    concatBytes(...fields.map(lengthPrefixed));
  const PARTS = [
    utf8("quorate/vote/v1"),
    utf8("test"),
    u64(3n),
    utf8("tx_1"),
    u64(23n),
    utf8("node-1"),
    u64(1_700_000_000_000n),
  ];
  const withPart = (at: number, part: Uint8Array): Uint8Array =>
    leafOf(PARTS.map((before, i) => (i === at ? part : before)));

  it("are refused with a field that no vote has", () => {
    expect(decodeVote(leafOf(PARTS)).ok).toBe(true);
    const bad: Record<string, Uint8Array> = {
      "another domain": withPart(0, utf8("quorate/vote/v2")),
      "another protocol's domain": withPart(0, utf8("quorate/batch/v1")),
      "cluster id with a slash": withPart(1, utf8("a/b")),
      "no cluster id": withPart(1, new Uint8Array()),
      "epoch 0": withPart(2, u64(0n)),
      "epoch that a number can't hold": withPart(2, u64(2n ** 53n)),
      "epoch in 7 bytes": withPart(2, new Uint8Array(7).fill(1)),
      "transaction id with NUL": withPart(3, utf8("tx\0")),
      "transaction id in UTF-8": withPart(3, utf8("tx\u00e9")),
      "transaction id of 129 characters": withPart(3, utf8("x".repeat(129))),
      "value in 9 bytes": withPart(4, new Uint8Array(9)),
      "value as text": withPart(4, utf8("23")),
      "node id in capitals": withPart(5, utf8("NODE")),
      "time that a number can't hold": withPart(6, u64(2n ** 53n)),
      "a missing field": leafOf(PARTS.slice(0, 6)),
      "a duplicate field": leafOf([...PARTS.slice(0, 5), utf8("node-1"), ...PARTS.slice(5)]),
      "fields in another order": leafOf([...PARTS.slice(0, 4), utf8("node-1"), u64(23n), u64(1n)]),
      nothing: new Uint8Array(),
      "a field that ends after the leaf": concatBytes(u16(65_535), utf8("quorate")),
    };
    for (const [what, leaf] of Object.entries(bad))
      expect([what, decodeVote(leaf)]).toMatchObject([
        what,
        { ok: false, error: { code: "MALFORMED" } },
      ]);
    expect(decodeVote(new Uint8Array(LIMITS.voteLeafBytesMax + 1))).toMatchObject({
      error: { code: "TOO_LARGE" },
    });
  });
});

describe("a frame", () => {
  const frameOf = (count: number): VoteFrame =>
    signFrame(
      Array.from({ length: count }, (_, i) => voteOf({ txId: `tx-${i}` })),
      noSign,
    );

  it.each([1, 2, 3, 255, 256])("of %d votes is read back as it was", (count) => {
    const frame = frameOf(count);
    const bytes = encodeFrame(frame);
    expect(decodeFrame(bytes)).toEqual({ ok: true, value: frame });
    const sum = frame.leaves.reduce((total, leaf) => total + frameBytesOf(leaf), 0);
    expect(bytes).toHaveLength(FRAME_OVERHEAD_BYTES + sum);
  });

  it("holds no more than its limits, of votes or of bytes", () => {
    expect(() => frameOf(257)).toThrow("1 to 256 votes");
    expect(() => signFrame([], noSign)).toThrow("1 to 256 votes");
    expect(() => signFrame([voteOf()], () => new Uint8Array(63))).toThrow("64 bytes");
    const long = Array.from({ length: 256 }, (_, i) =>
      voteOf({
        txId: `${"x".repeat(125)}${String(i).padStart(3, "0")}`,
        clusterId: "c".repeat(63),
        nodeId: "n".repeat(63),
      }),
    );
    expect(() => encodeFrame(signFrame(long, noSign))).toThrow("publisher splits frames");
  });

  it("is refused with trailing bytes, cut anywhere, or with a count that is not true", () => {
    const bytes = encodeFrame(frameOf(2));
    expect(decodeFrame(concatBytes(bytes, Uint8Array.of(0))).ok).toBe(false);
    for (let length = 0; length < bytes.length; length++)
      expect(decodeFrame(bytes.slice(0, length)).ok).toBe(false);
    for (const count of [0, 1, 3, 257, 65_535]) {
      const lying = concatBytes(bytes.slice(0, 65), u16(count), bytes.slice(67));
      expect(decodeFrame(lying)).toMatchObject({ ok: false, error: { code: "MALFORMED" } });
    }
  });

  it("carries an extension of 1 to 255 bytes beside its votes, outside their signature", () => {
    const frame = frameOf(2);
    for (const length of [1, 201, 255]) {
      const extension = new Uint8Array(length).fill(7);
      const bytes = encodeFrame({ ...frame, extension });
      expect(bytes).toHaveLength(encodeFrame(frame).length + extensionBytesOf(extension));
      const read = unwrap(decodeFrame(bytes));
      expect(read).toEqual({ ...frame, extension });
      expect(unwrap(openFrame(read))).toEqual(unwrap(openFrame(frame)));
    }
    for (const length of [0, 256])
      expect(() => encodeFrame({ ...frame, extension: new Uint8Array(length) })).toThrow(
        "1 to 255",
      );
  });

  it("is refused when what follows the votes is no extension to the last byte", () => {
    const bytes = encodeFrame(frameOf(2));
    for (const rest of [[255], [255, 0], [255, 1], [255, 1, 9, 9], [254, 1, 9], [255, 2, 9]])
      expect(decodeFrame(concatBytes(bytes, Uint8Array.from(rest)))).toMatchObject({
        ok: false,
        error: { code: "MALFORMED" },
      });
    expect(decodeFrame(concatBytes(bytes, Uint8Array.of(255, 1, 9))).ok).toBe(true);
  });

  it("is refused in another version, and above its size before anything is read", () => {
    const bytes = encodeFrame(frameOf(1));
    expect(decodeFrame(flip(bytes, 0, 3)).ok).toBe(false);
    const huge = new Uint8Array(LIMITS.voteFrameBytesMax + 1);
    expect(decodeFrame(huge)).toMatchObject({ ok: false, error: { code: "TOO_LARGE" } });
    expect(decodeFrame(huge.slice(1)).ok).toBe(false);
  });

  it("never throws on noise, and holds every byte of what it accepts", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, versioned) => {
        if (versioned && noise.length > 0) noise[0] = 1;
        const decoded = decodeFrame(noise);
        if (decoded.ok) expect(encodeFrame(decoded.value)).toEqual(noise);
      }),
      { numRuns: 1_000 },
    );
  });

  it("does not share memory with the bytes it was read from", () => {
    const bytes = encodeFrame(frameOf(1));
    const decoded = unwrap(decodeFrame(bytes));
    bytes.fill(0);
    expect(decoded).toEqual(frameOf(1));
  });

  it("by two trustees or for two epochs is refused", () => {
    for (const other of [{ nodeId: "node-2" }, { epoch: 4 }]) {
      const frame = signFrame([voteOf(), voteOf(other)], noSign);
      expect(openFrame(frame)).toMatchObject({ ok: false, error: { code: "MIXED_AUTHORS" } });
    }
  });

  it("with one leaf that is no vote is refused as a whole", () => {
    const frame = { signature: noSign(), leaves: [encodeVote(voteOf()), utf8("junk")] };
    expect(openFrame(frame)).toMatchObject({ ok: false, error: { code: "MALFORMED" } });
  });

  it("is signed under a domain of its own, with its number of votes", () => {
    const root = new Uint8Array(32).fill(7);
    expect(bytesToHex(rootSigningBytes(2, root))).toBe(
      `0010${bytesToHex(utf8("quorate/batch/v1"))}0002${"07".repeat(32)}`,
    );
  });
});
