import { LIMITS, parseEpoch, parseNodeId, parsePeerId, parseValue, unwrap } from "@quorate/core";
import { testClusterId, txIdOf } from "@quorate/testkit";
import { expect, test } from "vitest";
import { epochOf, keysOf, parseKey } from "./keys.ts";

const KEYS = keysOf(testClusterId("c1"));
const TX = txIdOf("tx:1.a_b-c");
const NODE = unwrap(parseNodeId("node-1"));
const PEER = unwrap(parsePeerId(`12D3KooW${"A".repeat(44)}`));
const VALUE = unwrap(parseValue(LIMITS.valueMax));

test("keys are the specification's [spec §7.1]", () => {
  expect([
    KEYS.voteCount(TX, VALUE),
    KEYS.vote(TX, NODE),
    KEYS.status(TX),
    KEYS.banned(PEER),
    KEYS.threshold,
    KEYS.totalNodes,
  ]).toEqual([
    "/quorate/c1/vote_counts/tx:1.a_b-c/18446744073709551615",
    "/quorate/c1/votes/tx:1.a_b-c/node-1",
    "/quorate/c1/transaction_status/tx:1.a_b-c",
    `/quorate/c1/banned/${PEER}`,
    "/quorate/c1/config/threshold",
    "/quorate/c1/config/total_nodes",
  ]);
});

test("every key that is written is read back as what it is", () => {
  expect(parseKey(KEYS, KEYS.voteCount(TX, VALUE))).toEqual({
    kind: "vote-count",
    txId: TX,
    value: VALUE,
  });
  expect(parseKey(KEYS, KEYS.vote(TX, NODE))).toEqual({ kind: "vote", txId: TX, nodeId: NODE });
  expect(parseKey(KEYS, KEYS.status(TX))).toEqual({ kind: "status", txId: TX });
  expect(parseKey(KEYS, KEYS.record(TX))).toEqual({ kind: "record", txId: TX });
  expect(parseKey(KEYS, KEYS.decision(TX))).toEqual({ kind: "decision", txId: TX });
  expect(parseKey(KEYS, KEYS.violation(TX, PEER, "DOUBLE_VOTING"))).toEqual({
    kind: "violation",
    txId: TX,
    peerId: PEER,
    type: "DOUBLE_VOTING",
  });
  expect(parseKey(KEYS, KEYS.banned(PEER))).toEqual({ kind: "ban", peerId: PEER });
  expect(parseKey(KEYS, KEYS.presence(PEER))).toEqual({ kind: "presence", peerId: PEER });
  expect(parseKey(KEYS, KEYS.silence(NODE))).toEqual({ kind: "silence", nodeId: NODE });
  expect(parseKey(KEYS, KEYS.lift(PEER, 7))).toEqual({ kind: "lift", peerId: PEER, liftedAtMs: 7 });
  expect(parseKey(KEYS, KEYS.receipts(NODE, 7, Number.MAX_SAFE_INTEGER))).toEqual({
    kind: "receipts",
    nodeId: NODE,
    runStartedAtMs: 7,
    sequence: Number.MAX_SAFE_INTEGER,
  });
  expect(parseKey(KEYS, KEYS.epoch).kind).toBe("config");
  const epoch = unwrap(parseEpoch(12));
  expect(parseKey(KEYS, KEYS.epochDocument(epoch)).kind).toBe("config");
  expect(epochOf(KEYS, KEYS.epochDocument(epoch))).toBe(epoch);
  expect(parseKey(KEYS, KEYS.candidate("a/b", "7")).kind).toBe("lock");
});

test.each([
  "/quorate/c2/votes/tx/node-1",
  "/quorate/c1/",
  "/quorate/c1/votes/tx",
  "/quorate/c1/votes/tx/node-1/more",
  "/quorate/c1/votes//node-1",
  "/quorate/c1/votes/tx/NODE",
  "/quorate/c1/vote_counts/tx/-1",
  "/quorate/c1/vote_counts/tx/18446744073709551616",
  "/quorate/c1/vote_counts/tx/07",
  `/quorate/c1/violations/tx/${PEER}/BOREDOM`,
  "/quorate/c1/banned/nobody",
  `/quorate/c1/lifts/${PEER}`,
  `/quorate/c1/lifts/${PEER}/07`,
  `/quorate/c1/lifts/${PEER}/9007199254740993`,
  `/quorate/c1/lifts/${PEER}/7/x`,
  "/quorate/c1/receipts/node-1/7/1",
  "/quorate/c1/receipts/node-1/7/00000000000000001",
  "/quorate/c1/receipts/node-1/x/0000000000000001",
  "/quorate/c1/receipts/node-1/7/0000000000000001/x",
  "/quorate/c1/unheard_of/x",
])("%s is unreadable", (key) => {
  expect(parseKey(KEYS, key).kind).toBe("unreadable");
});

test("receipts of one run lie in the order of their numbers", () => {
  const sequences = [0, 9, 10, 99_999, 100_000];
  const written = sequences.map((sequence) => KEYS.receipts(NODE, 7, sequence));
  expect([...written].sort()).toEqual(written);
});

test.each(["0", "01", "x", "1/2", "1.0"])("an epoch is not named by %j", (name) => {
  expect(epochOf(KEYS, `${KEYS.epochDocuments}${name}`)).toBeNull();
});
