import {
  openFrame,
  parseClusterId,
  parseEpoch,
  parseNodeId,
  parseTxId,
  parseValue,
  signFrame,
  unwrap,
  voteToJson,
} from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import { encodeAbiParameters, keccak256, stringToHex, toEventSelector } from "viem";
import { expect, test } from "vitest";
import { type Found, judge, type Truth } from "./invariants.ts";

const CLUSTER = "chaos-unit";
const RECORDED = toEventSelector("Recorded(bytes32,uint64)");
const DUPLICATE = toEventSelector("Duplicate(bytes32,uint64,uint64)");
const NAMES = ["trustee-1", "trustee-2", "trustee-3"];
const signers = NAMES.map((_, i) => createVoteSigner(new Uint8Array(32).fill(i + 1)));

function vote(txId: string, value: string, nodeId: string): string {
  const signer = signers[NAMES.indexOf(nodeId)];
  if (signer === undefined) throw new Error("no such trustee");
  const said = {
    clusterId: unwrap(parseClusterId(CLUSTER)),
    epoch: unwrap(parseEpoch(1)),
    txId: unwrap(parseTxId(txId)),
    value: unwrap(parseValue(value)),
    nodeId: unwrap(parseNodeId(nodeId)),
    issuedAtMs: 1,
  };
  const [signed] = unwrap(openFrame(signFrame([said], (message) => signer.sign(message)))).votes;
  if (signed === undefined) throw new Error("no vote");
  return JSON.stringify(voteToJson(signed, `peer-${nodeId}`));
}

const keyOf = (txId: string): string =>
  keccak256(
    encodeAbiParameters(
      [{ type: "bytes32" }, { type: "string" }, { type: "string" }],
      [keccak256(stringToHex("quorate/record/v1")), CLUSTER, txId],
    ),
  );

const truth: Truth = {
  clusterId: CLUSTER,
  threshold: 2,
  trustees: new Map(
    NAMES.map((name, i) => [
      name,
      { peerId: `peer-${name}`, key: Buffer.from(signers[i]?.publicKey ?? []).toString("hex") },
    ]),
  ),
  guilty: new Set(),
  excused: new Set(),
  values: new Map([
    ["good", "7"],
    ["bad", "8"],
  ]),
  mustAbort: new Set(["bad"]),
  mayAbort: new Set(),
  accepted: new Map([["good/trustee-1", "7"]]),
};

/** One decided and recorded transaction, and one that was aborted. */
const whole = (): { -readonly [K in keyof Found]: Found[K] } => ({
  statuses: new Map([
    ["good", "CONFIRMED"],
    ["bad", "ABORTED_BYZANTINE"],
  ]),
  decisions: new Map([
    ["good", "SUBMIT:7"],
    ["bad", "ABORT:SPLIT_VOTE"],
  ]),
  votes: new Map([
    ["good/trustee-1", vote("good", "7", "trustee-1")],
    ["good/trustee-2", vote("good", "7", "trustee-2")],
    ["bad/trustee-3", vote("bad", "8", "trustee-3")],
  ]),
  counts: new Map([
    ["good/7", "2"],
    ["bad/8", "1"],
  ]),
  records: new Map([
    ["good", JSON.stringify({ value: "7" })],
    ["bad", JSON.stringify({ value: null })],
  ]),
  bans: new Map(),
  logs: [{ topic: RECORDED, key: keyOf("good"), value: 7n }],
  mined: 1n,
  submissions: [{ tx_id: "good", value: "7", state: "FINALIZED" }],
  slots: [{ nonce: "0", state: "FINALIZED_OK" }],
  history: 3,
});

const without = <K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> =>
  new Map([...map].filter(([one]) => one !== key));
const ban = (nodeId: string, grade: string) =>
  new Map([[`peer-${nodeId}`, JSON.stringify({ grade, reason: "DOUBLE_VOTING" })]]);

test("a run in which everything holds breaks no law", () => {
  const report = judge(truth, whole());
  expect(report.violations).toEqual([]);
  expect(report).toMatchObject({ signaturesVerified: 3, acceptedLost: 0, recordedOnChain: 1 });
});

const BROKEN: readonly {
  readonly law: string;
  readonly how: string;
  readonly found?: Partial<Found>;
  readonly truth?: Partial<Truth>;
}[] = [
  {
    law: "votes are signed",
    how: "a vote stands under another trustee's name",
    found: {
      votes: new Map([...whole().votes, ["good/trustee-3", vote("good", "7", "trustee-1")]]),
    },
  },
  {
    law: "votes are signed",
    how: "a vote's readable value is not the signed one",
    found: {
      votes: new Map([
        ...whole().votes,
        [
          "good/trustee-2",
          JSON.stringify({ ...JSON.parse(vote("good", "7", "trustee-2")), value: "9" }),
        ],
      ]),
    },
  },
  {
    law: "counts are votes",
    how: "a counter is one too high",
    found: { counts: new Map([...whole().counts, ["good/7", "3"]]) },
  },
  {
    law: "counts are votes",
    how: "a counter counts nothing",
    found: { counts: new Map([...whole().counts, ["good/9", "1"]]) },
  },
  {
    law: "t votes stand behind a decision",
    how: "a vote is missing",
    found: { votes: without(whole().votes, "good/trustee-2") },
  },
  {
    law: "decisions are what was voted",
    how: "another value is decided",
    truth: { values: new Map([...truth.values, ["good", "6"]]) },
  },
  {
    law: "aborted when it must",
    how: "a transaction of Byzantine trustees is decided",
    truth: { mustAbort: new Set(["bad", "good"]) },
  },
  {
    law: "claims are written once",
    how: "the claim is for another value",
    found: { decisions: new Map([...whole().decisions, ["good", "SUBMIT:8"]]) },
  },
  {
    law: "claims are written once",
    how: "an aborted transaction has a claim",
    found: { decisions: new Map([...whole().decisions, ["bad", "SUBMIT:8"]]) },
  },
  {
    law: "no transaction is aborted without reason",
    how: "an honest transaction is aborted",
    truth: { mustAbort: new Set() },
  },
  {
    law: "everything ends",
    how: "a transaction stays open",
    found: { statuses: new Map([...whole().statuses, ["good", "COLLECTING"]]) },
  },
  {
    law: "everything ends",
    how: "a transaction is gone",
    found: { statuses: without(whole().statuses, "good") },
  },
  {
    law: "once on the chain",
    how: "a key is recorded twice",
    found: { logs: [...whole().logs, ...whole().logs] },
  },
  {
    law: "once on the chain",
    how: "the contract refused a second record",
    found: { logs: [...whole().logs, { topic: DUPLICATE, key: keyOf("good"), value: 7n }] },
  },
  {
    law: "nothing foreign on the chain",
    how: "a key belongs to no transaction",
    found: { logs: [...whole().logs, { topic: RECORDED, key: keyOf("other"), value: 7n }] },
  },
  {
    law: "no effect without a claim",
    how: "another value is on the chain",
    found: { logs: [{ topic: RECORDED, key: keyOf("good"), value: 8n }] },
  },
  {
    law: "no effect of the aborted",
    how: "an aborted transaction is on the chain",
    found: { logs: [...whole().logs, { topic: RECORDED, key: keyOf("bad"), value: 8n }] },
  },
  { law: "confirmed is on the chain", how: "a confirmed one is not", found: { logs: [] } },
  {
    law: "one row a transaction",
    how: "PostgreSQL has two rows",
    found: { submissions: [...whole().submissions, ...whole().submissions] },
  },
  {
    law: "PostgreSQL agrees",
    how: "a confirmed submission is not final there",
    found: { submissions: [{ tx_id: "good", value: "7", state: "INCLUDED" }] },
  },
  {
    law: "PostgreSQL agrees",
    how: "another value is queued",
    found: { submissions: [{ tx_id: "good", value: "8", state: "FINALIZED" }] },
  },
  {
    law: "nonces have no gap",
    how: "the first nonce is 1",
    found: { slots: [{ nonce: "1", state: "FINALIZED_OK" }] },
  },
  { law: "nonces are the chain's", how: "the chain counts one more", found: { mined: 2n } },
  {
    law: "every nonce ends well",
    how: "one is still signed",
    found: { slots: [{ nonce: "0", state: "SIGNED" }] },
  },
  { law: "history has every vote", how: "one is missing", found: { history: 2 } },
  {
    law: "no honest trustee is banned by proof",
    how: "one is",
    found: { bans: ban("trustee-1", "PROOF") },
    // Whom an opinion may hit a proof may not.
    truth: { excused: new Set(["trustee-1"]) },
  },
  {
    law: "no honest trustee is banned",
    how: "one is, by opinion",
    found: { bans: ban("trustee-1", "OPINION") },
  },
  {
    law: "the guilty are banned",
    how: "one is not",
    truth: { guilty: new Set(["trustee-3"]) },
  },
  {
    law: "accepted vote lost",
    how: "a vote that was answered RECORDED is not there",
    truth: { accepted: new Map([["good/trustee-3", "7"]]) },
  },
];

for (const { law, how, found, truth: changed } of BROKEN)
  test(`${law}: seen when ${how}`, () => {
    const { violations } = judge({ ...truth, ...changed }, { ...whole(), ...found });
    expect(violations.map((text) => text.split(":")[0])).toContain(law);
  });
