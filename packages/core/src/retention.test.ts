import { describe, expect, test } from "vitest";
import { parseNodeId, parseTxId, parseValue } from "./ids.ts";
import { assert, unwrap } from "./result.ts";
import {
  checkRetention,
  compactionTarget,
  DEFAULT_RETENTION,
  decisionOf,
  isArchived,
  type RetentionOptions,
} from "./retention.ts";
import { emptySnapshot, type TxRecord, type TxSnapshot } from "./tally.ts";
import { TX_STATUSES } from "./vote-fsm.ts";

const DAY_MS = 86_400_000;
const SEVEN = unwrap(parseValue(7n));
const TX = unwrap(parseTxId("tx-1"));

test("the default periods are the specification's [spec §9.1]", () => {
  expect(DEFAULT_RETENTION).toMatchObject({
    intervalMs: 3_600_000,
    votesMs: DAY_MS,
    recordsMs: 7 * DAY_MS,
    submissionsMs: 30 * DAY_MS,
    voteHistoryMs: 90 * DAY_MS,
  });
  expect(checkRetention(DEFAULT_RETENTION, 30_000)).toEqual({ ok: true, value: DEFAULT_RETENTION });
});

describe("options that would purge what may still change, or contradict each other, are refused by name", () => {
  const cases: readonly (readonly [keyof RetentionOptions, Partial<RetentionOptions>])[] = [
    ["intervalMs", { intervalMs: 0 }],
    ["votesMs", { votesMs: Number.NaN }],
    ["votesMs", { votesMs: 299_999 }],
    ["recordsMs", { recordsMs: DAY_MS - 1 }],
    ["submissionsMs", { submissionsMs: 1.5 }],
    ["voteHistoryMs", { voteHistoryMs: -1 }],
    ["earlyAfterMs", { earlyAfterMs: 29_999 }],
    ["earlyAfterMs", { earlyAfterMs: Number.NaN }],
    ["highMark", { highMark: 1 }],
    ["highMark", { highMark: Number.NaN }],
    ["lowMark", { lowMark: 0.7 }],
    ["lowMark", { lowMark: 0 }],
    ["compactionMarginRevisions", { compactionMarginRevisions: -1 }],
  ];
  for (const [option, change] of cases)
    test(`${option}: ${JSON.stringify(Object.values(change))}`, () => {
      const checked = checkRetention({ ...DEFAULT_RETENTION, ...change }, 30_000);
      assert(!checked.ok, "these are refused");
      expect(checked.error).toMatchObject({ code: "RETENTION_INVALID", option });
      expect(checked.error.message).toContain(`retention.${option} `);
    });
});

test("a decision without votes is archived, and nothing else is", () => {
  const decision = { kind: "SUBMIT", value: SEVEN } as const;
  const node = unwrap(parseNodeId("node-1"));
  const votes = new Map([[node, {} as never]]);
  expect(isArchived(emptySnapshot(TX))).toBe(false);
  expect(isArchived({ decision, votes: new Map() })).toBe(true);
  expect(isArchived({ decision, votes })).toBe(false);
  expect(isArchived({ decision: null, votes })).toBe(false);
});

test("only what is confirmed with its value, or aborted with its reason, has its decision from its record", () => {
  const record = (change: Partial<TxRecord>): TxRecord =>
    ({ value: null, reason: null, ...change }) as TxRecord;
  const cases: readonly Partial<TxSnapshot>[] = TX_STATUSES.flatMap((status) => [
    { status, record: record({ value: SEVEN }) },
    { status, record: record({ reason: "SPLIT_VOTE" }) },
    { status, record: null },
  ]);
  const decided = cases.flatMap(({ status = null, record: of = null }) => {
    const decision = decisionOf({ status, record: of });
    return decision === null ? [] : [[status, decision.kind]];
  });
  expect(decided).toEqual([
    ["CONFIRMED", "SUBMIT"],
    ["ABORTED_BYZANTINE", "ABORT"],
  ]);
});

test("compaction never passes the projector, nor the newest revisions", () => {
  expect(compactionTarget({ revision: 1_000n, position: 990n }, 100)).toBe(900n);
  expect(compactionTarget({ revision: 1_000n, position: 500n }, 100)).toBe(500n);
  expect(compactionTarget({ revision: 1_000n, position: 1_000n }, 0)).toBe(1_000n);
  expect(compactionTarget({ revision: 1_000n, position: null }, 0)).toBeNull();
  expect(compactionTarget({ revision: 50n, position: 50n }, 100)).toBeNull();
});
