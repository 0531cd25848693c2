import {
  parseEvmAddress,
  type SignedNote,
  type Step,
  type StepOutcome,
  type StepSight,
  unwrap,
} from "@quorate/core";
import { type StepLog, StoreError, type SubmissionStore, type TallyStore } from "@quorate/ports";
import { createMemorySubmissionStore } from "@quorate/testkit";
import { expect, test } from "vitest";
import { recordedSubmissions } from "./recorded-submissions.ts";
import { recordedTally } from "./recorded-tally.ts";

/** What was told, in order. */
type Told =
  | { readonly begin: Step }
  | { readonly note: SignedNote; readonly call: number }
  | { readonly end: StepOutcome; readonly call: number }
  | { readonly saw: StepSight };

function noting(): { readonly log: StepLog; readonly told: Told[] } {
  const told: Told[] = [];
  let calls = 0;
  return {
    told,
    log: {
      begin: (steps) =>
        steps.map((step) => {
          told.push({ begin: step });
          return calls++;
        }),
      note: (call, signed) => void told.push({ note: signed, call }),
      end: (ends) => {
        for (const { call, outcome } of ends) told.push({ end: outcome, call });
      },
      saw: (sight) => void told.push({ saw: sight }),
    },
  };
}

const SENDER = {
  chainId: 1,
  address: unwrap(parseEvmAddress(`0x${"11".repeat(20)}`)),
};

test("a step is told before its call is made, and its outcome when the call has ended", async () => {
  const { log, told } = noting();
  const before: number[] = [];
  const store = createMemorySubmissionStore({ nowMs: () => 0 });
  const spied: SubmissionStore = {
    ...store,
    becomeLeader: (...args) => {
      before.push(told.length);
      return store.becomeLeader(...args);
    },
  };
  await recordedSubmissions(spied, log).becomeLeader(SENDER, 3n);
  expect(before).toEqual([1]);
  expect(told).toEqual([
    { begin: { op: "pg.lead", chainId: 1, sender: SENDER.address, floor: "3" } },
    { end: { kind: "leads", lease: "1" }, call: 0 },
  ]);
});

test("a call that fails has an unknown outcome, and fails as it did", async () => {
  const { log, told } = noting();
  const lost = new StoreError("TIMEOUT", "no answer", { retryable: true });
  const store = { commit: () => Promise.reject(lost) } as unknown as TallyStore;
  const writes = {
    txId: "tx",
    newVotes: [],
    counts: new Map(),
    status: "COLLECTING",
    record: null,
    decision: null,
    violations: [],
    bans: [],
    silenceStreaks: new Map(),
  };
  const commits = [{ version: 0n, writes }] as unknown as Parameters<TallyStore["commit"]>[0];
  await expect(recordedTally(store, log).commit(commits, 1n)).rejects.toBe(lost);
  expect(told.at(-1)).toEqual({ end: { kind: "unknown", why: "TIMEOUT" }, call: 0 });
});

test("what reads and decides nothing is not told, and goes through unchanged", async () => {
  const { log, told } = noting();
  const store = recordedSubmissions(createMemorySubmissionStore({ nowMs: () => 0 }), log);
  expect(await store.peekQueued(SENDER, 5)).toEqual([]);
  expect(await store.counts()).toMatchObject({ QUEUED: 0 });
  expect(await store.enqueue([], SENDER)).toEqual([]);
  expect(told).toEqual([]);
});

test("what is signed inside a call is told before the call ends", async () => {
  const { log, told } = noting();
  const store = recordedSubmissions(createMemorySubmissionStore({ nowMs: () => 0 }), log);
  const lease = await store.becomeLeader(SENDER, 0n);
  await store.markHistoryChecked(lease);
  const item = { txId: "tx", value: 7n } as unknown as { txId: never; value: never };
  await store.enqueue(
    [{ ...item, key: `0x${"22".repeat(32)}`, epoch: 1 as never, decisionRevision: 4n }],
    SENDER,
  );
  told.length = 0;
  await store.assign(lease, {
    items: [item],
    windowMax: 1,
    gasLimit: 1n,
    sign: () =>
      Promise.resolve({
        hash: `0x${"33".repeat(32)}`,
        raw: new Uint8Array([1, 2]),
        maxFeePerGasWei: 1n,
        maxPriorityFeePerGasWei: 1n,
      }),
  });
  expect(told.map((line) => Object.keys(line)[0])).toEqual(["begin", "note", "end"]);
  const [, note, end] = told;
  expect(note).toMatchObject({ note: { nonce: "0", items: [{ txId: "tx", value: "7" }] } });
  expect(end).toMatchObject({ end: { kind: "taken", slot: { nonce: "0" } } });
});
