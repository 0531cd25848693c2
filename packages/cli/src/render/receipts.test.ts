import type { ReceiptView } from "@quorate/localcluster/client";
import { describe, expect, it } from "vitest";
import { PLAIN } from "../terminal.ts";
import { renderReceipts } from "./receipts.ts";

const RECEIPT: ReceiptView = {
  clusterId: "c",
  nodeId: "trustee-1",
  peerId: "12D3KooWme",
  sequence: 1,
  runStartedAtMs: 0,
  issuedAtMs: Date.UTC(2026, 0, 1, 0, 0, 10),
  reason: "bad_signature",
  count: 1,
  firstAtMs: Date.UTC(2026, 0, 1),
  lastAtMs: Date.UTC(2026, 0, 1),
  messageHash: "abcdefghijklmnopqrstuvwxyz",
  txId: null,
  voter: null,
  author: "12D3KooWauthor-abcdefgh",
  forwarder: "12D3KooWforwarder-0123",
  signature: "s",
  verified: true,
};

const cells = (changes: Partial<ReceiptView>): readonly string[] =>
  (renderReceipts([{ ...RECEIPT, ...changes }], PLAIN).split("\n")[1] ?? "").split(/ {2,}/);

describe("receipts", () => {
  it("show when, by whom, why, how many, on what, whose and what", () => {
    expect(renderReceipts([{ ...RECEIPT, txId: "tx-1", count: 12 }], PLAIN).split("\n")).toEqual([
      "TIME                      REFUSED BY  REASON         COUNT  TX    AUTHOR         HASH",
      "2026-01-01T00:00:00.000Z  trustee-1   bad_signature  12     tx-1  …hor-abcdefgh  abcdefghijkl…",
    ]);
  });

  it("name no author that was only claimed", () => {
    expect(cells({})[5]).toBe("…hor-abcdefgh");
    expect(cells({ reason: "rate_limited" })[5]).toBe("via …rwarder-0123");
    expect(cells({ reason: "rate_limited", forwarder: null })[5]).toBe("…hor-abcdefgh?");
    expect(cells({ author: null })[5]).toBe("via …rwarder-0123");
    expect(cells({ author: null, forwarder: null })[5]).toBe("-");
  });

  it("that nobody known has signed are told apart", () => {
    expect(cells({ verified: false })[1]).toBe("trustee-1 (not verified)");
  });
});
