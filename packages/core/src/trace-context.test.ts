import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesToHex } from "./bytes.ts";
import { parseTxId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { unwrap } from "./result.ts";
import {
  decodeFrameTraces,
  encodeFrameTraces,
  parseTraceparent,
  type TraceContext,
  traceparentOf,
  traceShareOf,
} from "./trace-context.ts";

const hex = (digits: number) =>
  fc
    .uint8Array({ minLength: digits / 2, maxLength: digits / 2 })
    .filter((bytes) => bytes.some((b) => b !== 0))
    .map(bytesToHex);
const contexts = fc.record({ traceId: hex(32), spanId: hex(16) });
const placed = fc.uniqueArray(fc.tuple(fc.nat(255), contexts), {
  minLength: 1,
  maxLength: LIMITS.frameTracesMax,
  selector: ([place]) => place,
});

const CONTEXT: TraceContext = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
};
const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

describe("a traceparent", () => {
  it("is W3C's own example, and read back as it was", () => {
    expect(traceparentOf(CONTEXT)).toBe(PARENT);
    expect(parseTraceparent(PARENT)).toEqual(CONTEXT);
    fc.assert(
      fc.property(contexts, (c) => {
        expect(parseTraceparent(traceparentOf(c))).toEqual(c);
      }),
    );
  });

  it.each([
    ["not text", 5],
    ["nothing", undefined],
    ["empty", ""],
    ["not sampled", PARENT.replace(/1$/, "0")],
    ["of another version", `01${PARENT.slice(2)}`],
    ["in capitals", PARENT.toUpperCase()],
    ["longer", `${PARENT}-x`],
    ["on two lines", `${PARENT}\n`],
    ["without a trace", PARENT.replace(CONTEXT.traceId, "0".repeat(32))],
    ["without a span", PARENT.replace(CONTEXT.spanId, "0".repeat(16))],
  ])("is ignored when it is %s", (_what, text) => {
    expect(parseTraceparent(text)).toBeNull();
  });
});

describe("the traces of a frame", () => {
  it("are read back as they were, each at its vote", () => {
    fc.assert(
      fc.property(placed, (entries) => {
        const bytes = encodeFrameTraces(new Map(entries));
        expect(bytes).toHaveLength(1 + 25 * entries.length);
        expect(decodeFrameTraces(bytes, 256)).toEqual(new Map(entries));
      }),
    );
  });

  it("are carried up to their limit, within a frame's extension", () => {
    expect(encodeFrameTraces(new Map())).toBeUndefined();
    const many = new Map(Array.from({ length: 20 }, (_, i) => [i, CONTEXT]));
    const bytes = encodeFrameTraces(many);
    expect(bytes?.length).toBeLessThanOrEqual(LIMITS.frameExtensionBytesMax);
    expect([...decodeFrameTraces(bytes, 20).keys()]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it("are as if not there when they are not readable, and never throw", () => {
    const good = encodeFrameTraces(new Map([[1, CONTEXT]])) ?? new Uint8Array();
    expect(decodeFrameTraces(good, 2).size).toBe(1);
    expect(decodeFrameTraces(good, 1).size).toBe(0);
    expect(decodeFrameTraces(undefined, 2).size).toBe(0);
    expect(decodeFrameTraces(good.slice(0, -1), 2).size).toBe(0);
    expect(decodeFrameTraces(good.slice(0, 1), 2).size).toBe(0);
    expect(
      decodeFrameTraces(
        good.map((b, i) => (i === 0 ? 1 : b)),
        2,
      ).size,
    ).toBe(0);
    expect(
      decodeFrameTraces(
        good.map((b, i) => (i > 1 && i < 18 ? 0 : b)),
        2,
      ).size,
    ).toBe(0);
    const twice = Uint8Array.from([...good, ...good.slice(1)]);
    expect(decodeFrameTraces(twice, 2).size).toBe(0);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 256 }), (b, n) => {
        for (const place of decodeFrameTraces(b, n).keys()) expect(place).toBeLessThan(n);
      }),
    );
  });
});

describe("the share of transactions that is traced", () => {
  const share = (text: string): number => traceShareOf(unwrap(parseTxId(text)));

  it("is spread evenly, also over ids that are counted up", () => {
    for (const prefix of ["tx-", "2026-01-15:", ""]) {
      const below = (bound: number): number =>
        Array.from({ length: 10_000 }, (_, i) => share(`${prefix}${i}`)).filter((s) => s < bound)
          .length;
      expect(below(1)).toBe(10_000);
      expect(Math.abs(below(0.5) - 5_000)).toBeLessThan(250);
      expect(Math.abs(below(0.01) - 100)).toBeLessThan(50);
      expect(below(0)).toBe(0);
    }
  });

  it("is the same in every version: nodes must choose the same transactions", () => {
    expect(["tx-1", "tx-2", "a"].map((id) => share(id).toFixed(6))).toMatchInlineSnapshot(`
      [
        "0.570133",
        "0.194581",
        "0.103526",
      ]
    `);
  });
});
