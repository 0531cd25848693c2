import {
  fromBase64,
  isAuthorVerified,
  onlySet,
  parseNodeId,
  parseTxId,
  REFUSAL_REASONS,
  type Receipt,
  receiptFromJson,
  receiptSigningBytes,
  receiptToJson,
  refusedMessageHash,
  signReceipt,
  type TrusteeSets,
  toBase64,
  unwrap,
  verifyReceipt,
} from "@quorate/core";
import { testCluster, txIdTexts } from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const cluster = testCluster({ trustees: 3, threshold: 2 });
const [own, other] = cluster.nodes;
if (own === undefined || other === undefined) throw new Error("the cluster has three nodes");
const sets = onlySet(cluster.set);

const times = fc.integer({ min: 0, max: 8_640_000_000_000_000 });
const receipts: fc.Arbitrary<Receipt> = fc
  .record({
    sequence: fc.nat(),
    runStartedAtMs: times,
    issuedAtMs: times,
    reason: fc.constantFrom(...REFUSAL_REASONS),
    count: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    span: fc.tuple(times, times),
    message: fc.uint8Array({ maxLength: 100 }),
    txId: fc.option(txIdTexts.map((text) => unwrap(parseTxId(text)))),
    voter: fc.option(fc.constantFrom("node-001", "x").map((text) => unwrap(parseNodeId(text)))),
    author: fc.option(fc.constantFrom(own.peerId, other.peerId)),
    forwarder: fc.option(fc.constantFrom(own.peerId, other.peerId)),
  })
  .map(({ span: [a, b], message, ...rest }) =>
    signReceipt(
      {
        ...rest,
        clusterId: cluster.set.clusterId,
        nodeId: own.nodeId,
        peerId: own.peerId,
        firstAtMs: Math.min(a, b),
        lastAtMs: Math.max(a, b),
        messageHash: refusedMessageHash(message),
      },
      (bytes) => own.signer.sign(bytes),
    ),
  );

const check = (receipt: Receipt, known: TrusteeSets = sets): boolean =>
  verifyReceipt(receipt, known, cluster.verify).ok;

/** Another valid value for each field. */
function changed(receipt: Receipt): readonly Receipt[] {
  const turned = (id: typeof receipt.author): typeof receipt.author =>
    id === other?.peerId ? null : (other?.peerId ?? null);
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => i);
  const all: Required<{ readonly [Name in keyof Receipt]: Receipt[Name] }> = {
    clusterId: testCluster({ trustees: 1, threshold: 1, clusterId: "other" }).set.clusterId,
    nodeId: other?.nodeId ?? receipt.nodeId,
    peerId: other?.peerId ?? receipt.peerId,
    sequence: receipt.sequence + 1,
    runStartedAtMs: receipt.runStartedAtMs === 0 ? 1 : receipt.runStartedAtMs - 1,
    issuedAtMs: receipt.issuedAtMs === 0 ? 1 : receipt.issuedAtMs - 1,
    reason: receipt.reason === "stale" ? "quota" : "stale",
    count: receipt.count === 1 ? 2 : receipt.count - 1,
    firstAtMs: receipt.firstAtMs === 0 ? 1 : receipt.firstAtMs - 1,
    lastAtMs: receipt.lastAtMs === 0 ? 1 : receipt.lastAtMs - 1,
    messageHash: toBase64(bytes.slice(0, 32)),
    txId: receipt.txId === null ? unwrap(parseTxId("x")) : null,
    voter: receipt.voter === null ? unwrap(parseNodeId("x")) : null,
    author: turned(receipt.author),
    forwarder: turned(receipt.forwarder),
    signature: toBase64(bytes),
  };
  return Object.entries(all).map(([name, value]) => ({ ...receipt, [name]: value }));
}

describe("a receipt", () => {
  it("is believed as it was signed, and not with any field changed", () => {
    fc.assert(
      fc.property(receipts, (receipt) => {
        expect(check(receipt)).toBe(true);
        for (const forged of changed(receipt))
          expect(check(forged), JSON.stringify(forged)).toBe(false);
      }),
      { numRuns: 30 },
    );
  });

  it("shares its signed bytes with no receipt that differs", () => {
    fc.assert(
      fc.property(receipts, (receipt) => {
        const bytes = toBase64(receiptSigningBytes(receipt));
        for (const { signature, ...fields } of changed(receipt))
          if (signature === receipt.signature)
            expect(toBase64(receiptSigningBytes(fields))).not.toBe(bytes);
      }),
      { numRuns: 30 },
    );
  });

  it("keeps an id in its own field: a voter is no transaction, an author no forwarder", () => {
    const [receipt] = fc.sample(receipts, { numRuns: 1, seed: 7 });
    if (receipt === undefined) throw new Error("one was asked for");
    const id = unwrap(parseTxId("a"));
    const name = unwrap(parseNodeId("a"));
    const bytesOf = (fields: Partial<Receipt>): string =>
      toBase64(receiptSigningBytes({ ...receipt, ...fields }));
    expect(bytesOf({ txId: id, voter: null })).not.toBe(bytesOf({ txId: null, voter: name }));
    expect(bytesOf({ author: own.peerId, forwarder: null })).not.toBe(
      bytesOf({ author: null, forwarder: own.peerId }),
    );
  });

  it("by somebody who is in no known set is not believed, whatever signed it", () => {
    const stranger = testCluster({ trustees: 1, threshold: 1, seed: 9 }).nodes[0];
    if (stranger === undefined) throw new Error("the cluster has a node");
    const [sample] = fc.sample(receipts, { numRuns: 1, seed: 1 });
    if (sample === undefined) throw new Error("one was asked for");
    const { signature: _, ...fields } = sample;
    const signed = signReceipt({ ...fields, peerId: stranger.peerId }, (b) =>
      stranger.signer.sign(b),
    );
    const { publicKey } = stranger.signer;
    const signature = fromBase64(signed.signature) ?? new Uint8Array();
    expect(cluster.verify(publicKey, receiptSigningBytes(signed), signature)).toBe(true);
    expect(check(signed)).toBe(false);
    expect(check(sample, new Map())).toBe(false);
  });

  it("in another trustee's name or for another cluster is not believed, although a trustee signed it", () => {
    const [sample] = fc.sample(receipts, { numRuns: 1, seed: 2 });
    if (sample === undefined) throw new Error("one was asked for");
    const { signature: _, ...fields } = sample;
    const sign = (changes: Partial<Receipt>): Receipt =>
      signReceipt({ ...fields, ...changes }, (bytes) => other.signer.sign(bytes));
    const { nodeId, peerId } = other;
    const elsewhere = testCluster({ trustees: 1, threshold: 1, clusterId: "other" }).set;
    expect(check(sign({ nodeId, peerId }))).toBe(true);
    expect(check(sign({ peerId }))).toBe(false);
    expect(check(sign({ nodeId, peerId, clusterId: elsewhere.clusterId }))).toBe(false);
  });

  it("is the same after a way through JSON", () => {
    fc.assert(
      fc.property(receipts, (receipt) => {
        const json: unknown = JSON.parse(JSON.stringify(receiptToJson(receipt)));
        expect(receiptFromJson(json)).toEqual({ ok: true, value: receipt });
      }),
    );
  });

  it("is not read with a field missing, of another kind, out of bounds or too many", () => {
    const wrong: readonly unknown[] = [
      undefined,
      null,
      "",
      "\n",
      {},
      [],
      true,
      -1,
      1.5,
      2 ** 60,
      "x".repeat(10_000),
    ];
    fc.assert(
      fc.property(receipts, (receipt) => {
        const json = receiptToJson(receipt);
        for (const name of Object.keys(json)) {
          const may = ["txId", "voter", "author", "forwarder"].includes(name) ? [null] : [];
          for (const value of wrong.filter((w) => !may.some((m) => m === w)))
            expect(receiptFromJson({ ...json, [name]: value }).ok, `${name} ${String(value)}`).toBe(
              false,
            );
          const { [name as keyof typeof json]: _, ...without } = json;
          expect(receiptFromJson(without).ok, name).toBe(false);
        }
        expect(receiptFromJson({ ...json, more: 1 }).ok).toBe(false);
        expect(receiptFromJson({ ...json, count: 0 }).ok).toBe(false);
        // As long as a hash or a signature in base64, but of a byte more or fewer.
        for (const bytes of [31, 33])
          expect(
            receiptFromJson({ ...json, messageHash: toBase64(new Uint8Array(bytes)) }).ok,
          ).toBe(false);
        for (const bytes of [65, 66])
          expect(receiptFromJson({ ...json, signature: toBase64(new Uint8Array(bytes)) }).ok).toBe(
            false,
          );
        expect(receiptFromJson({ ...json, firstAtMs: 2, lastAtMs: 1 }).ok).toBe(false);
      }),
      { numRuns: 10 },
    );
    for (const none of [null, undefined, 1, "x", [], {}])
      expect(receiptFromJson(none).ok).toBe(false);
  });

  it("names an authenticated author for what was refused by content or by rule only", () => {
    expect(REFUSAL_REASONS.filter((reason) => !isAuthorVerified(reason))).toEqual(
      REFUSAL_REASONS.slice(0, REFUSAL_REASONS.indexOf("malformed")),
    );
  });
});
