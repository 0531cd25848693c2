import { expect, test } from "vitest";
import { type StepLine, writeStepLine } from "./step.ts";
import { readStepLine } from "./step-reader.ts";

const PEER = "12D3KooWMCXeAFWFsknoyimEUNCWAZBh6Vmw7je4uWSn9mtMV3FD";
const HASH = `0x${"ab".repeat(32)}`;
const BYTES = "cd".repeat(32);
const vote = { nodeId: "a", peerId: PEER, epoch: 1, value: "18446744073709551615" } as const;
const ban = { nodeId: null, peerId: PEER, reason: "LOW_REPUTATION", grade: "OPINION" } as const;
const violation = {
  txId: "tx-1",
  nodeId: "a",
  peerId: PEER,
  type: "DOUBLE_VOTING",
  grade: "PROOF",
} as const;
const attempt = { kind: "ORIGINAL", hash: HASH, bytes: BYTES } as const;
const item = { txId: "tx-1", value: "7" } as const;

const LINES: readonly StepLine[] = [
  {
    line: "start",
    at: 1,
    format: 1,
    run: "r-1",
    program: "node",
    name: "a",
    clusterId: "c",
    pid: 7,
    boot: null,
    startedAtMs: 5,
    protocol: { settleMs: 500, silenceStreakMax: 3 },
  },
  {
    line: "begin",
    at: 2,
    call: 0,
    step: {
      op: "etcd.commit",
      txId: "tx-1",
      epochVersion: "2",
      version: "0",
      votes: [vote],
      counts: [{ value: vote.value, count: 1 }],
      status: "ABORTED_BYZANTINE",
      record: {
        epoch: 1,
        policy: "strict-abort",
        profile: "balanced",
        excluded: [],
        openedAtMs: 4,
        deadlineAtMs: 9,
        value: null,
        unanimous: false,
        reason: "DOUBLE_VOTING",
        offenders: ["a"],
        absent: null,
        txHash: null,
      },
      decision: { kind: "ABORT", value: null, reason: "DOUBLE_VOTING" },
      violations: [violation],
      bans: [ban],
      silence: [{ nodeId: "a", before: 0, after: 1 }],
    },
  },
  { line: "end", at: 3, call: 0, outcome: { kind: "committed", revision: "12" } },
  { line: "begin", at: 4, call: 1, step: { op: "pg.assign", lease: "1", items: [item] } },
  { line: "note", at: 5, call: 1, signed: { nonce: "0", items: [item], attempt } },
  {
    line: "end",
    at: 6,
    call: 1,
    outcome: { kind: "taken", slot: { nonce: "0", items: [item], attempts: [attempt] } },
  },
  { line: "begin", at: 7, call: 2, step: { op: "chain.send", bytes: BYTES } },
  { line: "saw", at: 8, sight: { what: "ban", revision: "13", peerId: PEER, ban: null } },
  { line: "stop", at: 9 },
];

test.each(LINES.map((line) => [line.line, line] as const))(
  "a line (%s) reads back as it was written",
  (_, line) => {
    expect(readStepLine(writeStepLine(line))).toEqual({ ok: true, value: line });
  },
);

test.each([
  ["", "not JSON"],
  ["{", "not JSON"],
  ["[]", "line.line is none of"],
  ['{"line":"stop"}', "must have the keys line, at"],
  ['{"line":"stop","at":1,"more":1}', "must have the keys line, at"],
  ['{"line":"stop","at":-1}', "line.at is not a whole number"],
  ['{"line":"begin","at":1,"call":1,"step":{"op":"etcd.other"}}', "line.step.op is none of"],
  [
    '{"line":"begin","at":1,"call":1,"step":{"op":"chain.send","bytes":"0x00"}}',
    "line.step.bytes is not a hash",
  ],
  [
    '{"line":"end","at":1,"call":1,"outcome":{"kind":"committed","revision":"01"}}',
    "line.outcome.revision is not a whole number",
  ],
  ['{"line":"__proto__","at":1}', "line.line is none of"],
])("what is no line of ours is refused, with the place: %s", (text, message) => {
  const read = readStepLine(text);
  expect(read).toMatchObject({ ok: false });
  expect(read.ok ? "" : read.error).toContain(message);
});
