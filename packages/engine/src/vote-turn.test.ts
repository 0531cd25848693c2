import {
  DEFAULT_PROTOCOL_CONFIG,
  type DecideStep,
  decide,
  emptySnapshot,
  type TxWrites,
} from "@quorate/core";
import { nodeAt, testCluster, txIdOf, vote } from "@quorate/testkit";
import { expect, test } from "vitest";
import { TestTracer } from "./test-tracer.ts";
import { VoteTurn } from "./vote-turn.ts";

const cluster = testCluster({ trustees: 3, threshold: 1 });
const one = vote(cluster, 0, "tx", 7);
const before = emptySnapshot(txIdOf("tx"));
const CONTEXT = { traceId: "c".repeat(32), spanId: "d".repeat(16) };

/** A clock that goes on by one each time it is looked at. */
function turnOf(tracer: TestTracer): VoteTurn {
  let ms = 100;
  const clock = { monotonicMs: () => ms++, nowMs: () => 0 };
  return new VoteTurn(
    [{ place: 0, vote: one, sinceMs: 90, parent: CONTEXT }],
    { startMs: 99, batch: 1 },
    {
      tracer,
      clock: { ...clock, sleep: () => Promise.resolve(), schedule: () => () => {} },
      nodeId: nodeAt(cluster, 0).nodeId,
    },
  );
}

function decided(turn: VoteTurn) {
  return decide(
    before,
    { votes: [one], nowMs: 0, deadlinePassed: false },
    {
      set: cluster.set,
      config: DEFAULT_PROTOCOL_CONFIG,
      bans: new Map(),
      silenceStreaks: new Map(),
      verify: cluster.verify,
      onStep: turn.onStep,
    },
  );
}

test("each step of a decision begins where the one before ended, within the round trip", () => {
  const tracer = new TestTracer();
  const turn = turnOf(tracer);
  turn.decided(decided(turn), before);
  turn.ended("committed", 5n);
  expect(tracer.spans.map((s) => [s.name, s.startMs, s.endMs])).toEqual([
    ["vote.store", 99, 105],
    ["vote.count", 100, 101],
    ["threshold.check", 101, 102],
    ["byzantine.check", 102, 103],
    ["vote.aggregate", 103, 104],
  ]);
  expect(tracer.spans[0]?.attributes["quorate.waited_ms"]).toBe(9);
});

test("only the commit that reaches the threshold says where the trace goes on", () => {
  const turn = turnOf(new TestTracer());
  const decision = decided(turn);
  const writes = decision.writes as TxWrites;
  expect(writes.status).toBe("THRESHOLD_REACHED");
  const markOf = (changed: Partial<TxWrites>) =>
    turn.decided({ ...decision, writes: { ...writes, ...changed } }, before).writes?.record
      ?.traceContext;
  expect(markOf({})).toBeDefined();
  for (const status of ["COLLECTING", "SUBMITTED", "CONFIRMED"] as const)
    expect(markOf({ status })).toBeUndefined();
  expect(turn.decided({ ...decision, writes: null }, before).writes).toBeNull();
});

test("a decision that throws leaves a failed span, and no steps that did not end", () => {
  const tracer = new TestTracer();
  const turn = turnOf(tracer);
  turn.onStep("count" satisfies DecideStep);
  turn.ended("undecidable");
  expect(tracer.spans).toMatchObject([
    { name: "vote.store", failed: true, attributes: { "quorate.outcome": "undecidable" } },
  ]);
});
