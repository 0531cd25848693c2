import { LIMITS, type TraceContext, type TxId, type TxRecord } from "@quorate/core";
import type { Attempt, SenderLease, Slot, SubmissionStore } from "@quorate/ports";
import { SimClock, txIdOf, valueOf } from "@quorate/testkit";
import { describe, expect, test } from "vitest";
import { SubmissionSpans, withSpans } from "./submission-spans.ts";
import { TestTracer } from "./test-tracer.ts";

const CONTEXT: TraceContext = { traceId: "c".repeat(32), spanId: "d".repeat(16) };
const RECORD: TxRecord = {
  epoch: 1 as TxRecord["epoch"],
  policy: "strict-abort",
  profile: "balanced",
  excluded: [],
  openedAtMs: 0,
  deadlineAtMs: 1,
  value: valueOf(7),
  unanimous: true,
  thresholdAtMs: 0,
  reason: null,
  offenders: [],
  absent: null,
  chain: null,
};
const TRACED: TxRecord = { ...RECORD, traceContext: CONTEXT };
const A = txIdOf("tx-a");
const B = txIdOf("tx-b");

function open(samples: (txId: TxId) => boolean = () => true, enabled = true) {
  const tracer = new TestTracer(enabled, samples);
  const clock = new SimClock();
  return { tracer, clock, spans: new SubmissionSpans({ tracer, clock }) };
}

const ATTEMPT = { hash: `0x${"1".repeat(64)}`, kind: "ORIGINAL" } as unknown as Attempt;
const slotOf = (...txIds: readonly TxId[]): Slot => ({
  nonce: 4n,
  state: "SIGNED",
  gasLimit: 1n,
  items: txIds.map((txId) => ({ txId, key: "0x", value: valueOf(7) })),
  attempts: [ATTEMPT],
  included: null,
});

describe("a submission's trace", () => {
  test("goes on where the record says, and its sends and writes belong to the claim", async () => {
    const { tracer, clock, spans } = open();
    const startMs = spans.now();
    await clock.advance(5);
    spans.locked({ txId: A, record: TRACED }, startMs, "claimed");
    spans.submitted(slotOf(A, B), ATTEMPT, spans.now(), "accepted");
    spans.persisted("queue", [A, B], spans.now(), "written");
    expect(tracer.tree()).toEqual([
      "elsewhere > submission.lock claimed",
      "submission.lock > submission.submit accepted",
      "submission.lock > submission.persist written",
    ]);
    const [lock, submit] = tracer.spans;
    expect(lock).toMatchObject({ parent: CONTEXT, startMs, endMs: startMs + 5 });
    expect(submit?.attributes).toEqual({
      "quorate.tx_id": A,
      "quorate.outcome": "accepted",
      "quorate.step": "original",
      "quorate.nonce": "4",
      "quorate.chain_tx": ATTEMPT.hash,
      "quorate.batch": 2,
    });
  });

  test("begins at the claim where no node traced it, and has none where its id is left out", () => {
    const { tracer, spans } = open((id) => id === A);
    spans.locked({ txId: A, record: RECORD }, 0, "claimed");
    spans.locked({ txId: B, record: TRACED }, 0, "claimed");
    spans.resumed(B, TRACED);
    spans.persisted("queue", [A, B], 0, "written");
    expect(tracer.spans.map((s) => [s.name, s.parent, s.attributes["quorate.tx_id"]])).toEqual([
      ["submission.lock", null, A],
      ["submission.persist", tracer.spans[0]?.context, A],
    ]);
  });

  test("goes on after a restart without its claim, where the record says", () => {
    const { tracer, spans } = open();
    spans.resumed(A, TRACED);
    spans.resumed(B, RECORD);
    spans.persisted("queue", [A, B], 0, "written");
    expect(tracer.spans.map((s) => s.parent)).toEqual([CONTEXT]);
    // What this process claimed itself is not resumed over it.
    spans.locked({ txId: B, record: TRACED }, 0, "claimed");
    spans.resumed(B, { ...TRACED, traceContext: { ...CONTEXT, spanId: "e".repeat(16) } });
    spans.persisted("queue", [B], 0, "written");
    expect(tracer.tree().at(-1)).toBe("submission.lock > submission.persist written");
  });

  test("is made for no more transactions than the budget, whatever the records say", () => {
    const { tracer, spans } = open();
    for (let i = 0; i < 2 * LIMITS.tracedSubmissions.burst; i++) {
      spans.locked({ txId: txIdOf(`tx-${i}`), record: TRACED }, 0, "conflict");
      spans.resumed(txIdOf(`re-${i}`), TRACED);
    }
    expect(tracer.spans).toHaveLength(LIMITS.tracedSubmissions.burst / 2);
    // A second try of one that is traced is.
    spans.locked({ txId: txIdOf("tx-0"), record: TRACED }, 0, "claimed");
    expect(tracer.spans).toHaveLength(LIMITS.tracedSubmissions.burst / 2 + 1);
  });

  test("does not exist where tracing is off", () => {
    const { tracer, spans } = open(() => true, false);
    spans.locked({ txId: A, record: TRACED }, 0, "claimed");
    spans.resumed(A, TRACED);
    spans.submitted(slotOf(A), ATTEMPT, 0, "accepted");
    spans.persisted("queue", [A], 0, "written");
    expect([tracer.spans, spans.now()]).toEqual([[], 0]);
  });
});

describe("the writes of a submission", () => {
  const LEASE = {} as SenderLease;
  const gone = (): never => {
    throw new Error("the database is away");
  };
  /** A store that answers as it is told. */
  const storeOf = (methods: Partial<SubmissionStore>): SubmissionStore =>
    methods as SubmissionStore;

  test("are spans of what was claimed, in the order queue, nonce, final and confirmed", async () => {
    const { tracer, spans } = open();
    for (const txId of [A, B]) spans.locked({ txId, record: TRACED }, 0, "claimed");
    const store = withSpans(
      storeOf({
        enqueue: () => Promise.resolve([]),
        assign: () => Promise.resolve({ kind: "assigned", slot: slotOf(A) }),
        reserve: () => Promise.resolve({ kind: "window-full" }),
        markFinalized: () => Promise.resolve("fenced"),
        markConfirmed: () => Promise.resolve(),
      }),
      spans,
    );
    const items = [A, B].map((txId) => ({ txId, key: "0x", value: valueOf(7) })) as never;
    await store.enqueue(items, LEASE);
    await store.assign(LEASE, { items, windowMax: 1, gasLimit: 1n, sign: gone });
    await store.reserve(LEASE, { items, windowMax: 1, gasLimit: 1n });
    const final = { state: "FINALIZED_OK", blockNumber: 1n, items, requeuesMax: 1 } as const;
    await store.markFinalized(LEASE, 4n, final);
    await store.markConfirmed([B]);
    expect(
      tracer
        .named("submission.persist")
        .map(({ attributes: a }) => [a["quorate.step"], a["quorate.tx_id"], a["quorate.outcome"]]),
    ).toEqual([
      ["queue", A, "written"],
      ["queue", B, "written"],
      ["nonce", A, "written"],
      ["final", A, "fenced"],
      ["final", B, "fenced"],
      ["confirmed", B, "written"],
    ]);
    expect(tracer.named("submission.persist")[2]?.attributes["quorate.nonce"]).toBe("4");
  });

  test("that fail are failed spans, and their failure is the caller's as before", async () => {
    const { tracer, spans } = open();
    spans.locked({ txId: A, record: TRACED }, 0, "claimed");
    const store = withSpans(storeOf({ markConfirmed: async () => gone() }), spans);
    await expect(store.markConfirmed([A])).rejects.toThrow("the database is away");
    expect(tracer.named("submission.persist")).toMatchObject([
      { failed: true, attributes: { "quorate.outcome": "failed" } },
    ]);
  });
});
