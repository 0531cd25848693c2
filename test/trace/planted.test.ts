import { describe, expect, test } from "vitest";
import { checkRecording } from "./lib/check-trace.ts";
import type { Refusal } from "./lib/refusal.ts";
import { renderReport } from "./lib/report.ts";
import { type Spot, Tape } from "./lib/tape.ts";

const FIXTURES = ["consensus", "double-vote", "silent", "foreign"] as const;

describe("what real runs recorded", () => {
  test.each(FIXTURES)("%s: every step is a step of the model", (name) => {
    const report = Tape.fixture(name).check();
    expect(report).toMatchObject({ ok: true, refusals: [], unfollowed: [] });
    expect(report.clusters).toMatchObject([{ unknownSets: 0, beyondTheModel: 0 }]);
    expect(report.clusters[0]?.commits).toBeGreaterThan(4);
  });

  test("a commit whose reply was lost is known by what follows it", () => {
    const tape = Tape.fixture("consensus");
    const second = tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 2);
    const end = tape.endOf(second);
    tape.replace(end.spot, { ...end.line, outcome: { kind: "unknown", why: "TIMEOUT" } });
    expect(tape.check()).toMatchObject({ ok: true, clusters: [{ inferred: 1, unresolved: 0 }] });
  });

  test("a commit whose process was killed at once may have taken effect or not", () => {
    const tape = Tape.fixture("consensus");
    const last = tape.begin("etcd.commit", ({ status }) => status === "CONFIRMED");
    const { call } = last.line;
    tape.remove(
      (line, file) =>
        file === last.spot.file &&
        ((line.line === "end" && line.call >= call) || line.line === "stop"),
    );
    expect(tape.check()).toMatchObject({ ok: true, clusters: [{ unresolved: 1, cutShort: 1 }] });
  });

  test("a lost assignment is known by the bytes that were read back", () => {
    const tape = Tape.fixture("consensus");
    const taking = tape.begin("pg.assign");
    const end = tape.endOf(taking);
    const sent = tape.begin("chain.send");
    tape.replace(end.spot, { ...end.line, outcome: { kind: "unknown", why: "TIMEOUT" } });
    tape.insertSight(end.spot, { what: "stored", nonce: "0", bytes: sent.line.step.bytes });
    expect(tape.check()).toMatchObject({ ok: true, clusters: [{ nonces: 1 }] });
  });
});

describe("what was not followed is not taken for right", () => {
  test("a transaction whose trustee set nobody told, whatever it holds", () => {
    const tape = Tape.fixture("consensus");
    const second = tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 2);
    tape.edit(second, { counts: [{ value: "1", count: 99 }] });
    tape.remove((line) => line.line === "saw" && line.sight.what === "config");
    const { ok, refusals, unfollowed } = tape.check();
    expect(refusals).toEqual([]);
    expect(ok).toBe(false);
    expect(unfollowed).toEqual([expect.stringMatching(/no process told their trustee set/)]);
  });

  test("runs that recorded no step", () => {
    const tape = Tape.fixture("consensus");
    tape.remove((line) => line.line !== "start");
    const report = tape.check();
    expect(report).toMatchObject({ ok: false, refusals: [] });
    expect(report.unfollowed).toEqual([expect.stringMatching(/^nothing was followed/)]);
    expect(renderReport(report)).not.toContain("every step is a step of the model");
  });

  test("a recording of nothing", () => {
    const report = checkRecording({ runs: [], files: 1, lines: 0, torn: [] });
    expect(report).toMatchObject({ ok: false, refusals: [] });
  });
});

/** One kind of wrong step, and how the checker has to refuse it. */
interface Planted {
  readonly name: string;
  readonly fixture: (typeof FIXTURES)[number];
  /** @returns where the wrong step is */
  readonly plant: (tape: Tape) => Spot;
  readonly by: Refusal["by"];
  readonly guard: RegExp;
}

const PLANTED: readonly Planted[] = [
  {
    name: "a counter that counts a vote nobody gave",
    fixture: "consensus",
    plant: (tape) => {
      const second = tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 2);
      tape.edit(second, { counts: [{ value: "1", count: 3 }] });
      return second.spot;
    },
    by: "TraceVoting",
    guard: /the rules decide otherwise/,
  },
  {
    name: "THRESHOLD_REACHED with one vote too few",
    fixture: "consensus",
    plant: (tape) => {
      const opening = tape.begin("etcd.commit", ({ version }) => version === "0");
      const third = tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 3);
      const { record } = opening.line.step;
      tape.edit(third, {
        status: "THRESHOLD_REACHED",
        record: record === null ? null : { ...record, value: "1" },
      });
      return third.spot;
    },
    by: "TraceVoting",
    guard: /the rules decide otherwise.*COLLECTING.*THRESHOLD_REACHED/s,
  },
  {
    name: "a decision that is taken back",
    fixture: "consensus",
    plant: (tape) => {
      const claim = tape.begin("etcd.commit", ({ decision }) => decision !== null);
      const confirm = tape.begin("etcd.commit", ({ status }) => status === "CONFIRMED");
      const { revision } = committed(tape, claim);
      const { record } = claim.line.step;
      const later = `${BigInt(revision) + 1n}`;
      // Behind it everything goes on from here, one revision later.
      tape.edit(confirm, { version: later });
      const end = tape.endOf(confirm);
      tape.replace(end.spot, {
        ...end.line,
        outcome: { kind: "committed", revision: `${BigInt(revision) + 2n}` },
      });
      return tape.insertCall(
        tape.endOf(claim).spot,
        {
          ...claim.line.step,
          version: revision,
          status: "ABORTED_BYZANTINE",
          record: record === null ? null : { ...record, value: null, reason: "SPLIT_VOTE" },
          decision: { kind: "ABORT", value: null, reason: "SPLIT_VOTE" },
        },
        { kind: "committed", revision: later },
      );
    },
    by: "TraceVoting",
    guard: /the decision is written once/,
  },
  {
    name: "a vote that is written over",
    fixture: "consensus",
    plant: (tape) => {
      const third = tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 3);
      const second = tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 2);
      const [vote] = second.line.step.votes;
      if (vote === undefined) throw new Error("it has a vote");
      tape.edit(third, {
        votes: [{ ...vote, value: "2" }],
        counts: [{ value: "2", count: 1 }],
      });
      return third.spot;
    },
    by: "TraceVoting",
    guard: /a vote is written once/,
  },
  {
    name: "the vote of a trustee that is banned",
    fixture: "double-vote",
    plant: (tape) => {
      const opening = tape.begin("etcd.commit", ({ version }) => version === "0");
      const ban = tape.begin("etcd.commit", ({ bans }) => bans.length > 0);
      const { nodeId, peerId } = ban.line.step.bans[0] ?? {};
      if (nodeId === undefined || nodeId === null || peerId === undefined)
        throw new Error("somebody is banned");
      const late = `${BigInt(committed(tape, ban).revision) + 100n}`;
      return tape.insertCall(
        tape.endOf(ban).spot,
        {
          ...opening.line.step,
          txId: "another-tx",
          votes: [{ nodeId, peerId, epoch: 1, value: "1" }],
        },
        { kind: "committed", revision: late },
      );
    },
    by: "TraceVoting",
    guard: /no vote is recorded of a trustee that is banned/,
  },
  {
    name: "a ban without its violation",
    fixture: "double-vote",
    plant: (tape) => {
      const ban = tape.begin("etcd.commit", ({ bans }) => bans.length > 0);
      tape.edit(ban, { violations: [] });
      return ban.spot;
    },
    by: "TraceVoting",
    guard: /the rules decide otherwise/,
  },
  {
    name: "a ban that nobody is recorded to have written",
    fixture: "double-vote",
    plant: (tape) => {
      const ban = tape.begin("etcd.commit", ({ bans }) => bans.length > 0);
      const spot = tape.endOf(ban).spot;
      const set = tape.sight("config");
      const trustee = set.trustees[0];
      if (trustee === undefined) throw new Error("there are trustees");
      tape.insertSight(spot, {
        what: "ban",
        revision: "9999",
        peerId: trustee.peerId,
        ban: { ...trustee, reason: "MINORITY_VOTE", grade: "OPINION" },
      });
      return { ...spot, index: spot.index + 1 };
    },
    by: "order",
    guard: /nobody recorded writing this ban/,
  },
  {
    name: "a claim of what was aborted",
    fixture: "double-vote",
    plant: (tape) => {
      const abort = tape.begin("etcd.commit", ({ decision }) => decision !== null);
      const last = tape.last("etcd.commit");
      const { record } = abort.line.step;
      const { revision } = committed(tape, last);
      return tape.insertCall(
        tape.endOf(last).spot,
        {
          ...last.line.step,
          version: revision,
          votes: [],
          counts: [],
          status: "SUBMITTED",
          record: record === null ? null : { ...record, reason: null, value: "1" },
          decision: { kind: "SUBMIT", value: "1", reason: null },
        },
        { kind: "committed", revision: `${BigInt(revision) + 1n}` },
      );
    },
    by: "TraceVoting",
    guard: /only what has reached its threshold is claimed/,
  },
  {
    name: "the queueing of what was aborted",
    fixture: "double-vote",
    plant: (tape) => {
      const lead = tape.begin("pg.lead");
      const abort = tape.begin("etcd.commit", ({ decision }) => decision !== null);
      return tape.insertCall(
        tape.endOf(lead).spot,
        {
          op: "pg.enqueue",
          txId: abort.line.step.txId,
          value: "1",
          decisionRevision: committed(tape, abort).revision,
        },
        { kind: "enqueued", as: "queued", state: null },
      );
    },
    by: "order",
    guard: /only what etcd's write-once decision says is queued/,
  },
  {
    name: "a claim before the settle window is over",
    fixture: "silent",
    plant: (tape) => {
      const claim = tape.begin("etcd.commit", ({ decision }) => decision !== null);
      const reached = tape.begin("etcd.commit", ({ status }) => status === "THRESHOLD_REACHED");
      tape.replace(claim.spot, { ...claim.line, at: reached.line.at + 100_000 });
      return claim.spot;
    },
    by: "TraceVoting",
    guard: /a claim waits for the settle window/,
  },
  {
    name: "silence that is judged before its deadline",
    fixture: "silent",
    plant: (tape) => {
      const opening = tape.begin("etcd.commit", ({ version }) => version === "0");
      const judging = tape.begin("etcd.commit", ({ record }) => (record?.absent ?? null) !== null);
      tape.replace(judging.spot, { ...judging.line, at: opening.line.at + 100_000 });
      return judging.spot;
    },
    by: "TraceVoting",
    guard: /silence is judged once the deadline has passed/,
  },
  {
    name: "a commit on a snapshot that was no longer the newest",
    fixture: "consensus",
    plant: (tape) => {
      const opening = tape.begin("etcd.commit", ({ version }) => version === "0");
      const third = tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 3);
      tape.edit(third, { version: committed(tape, opening).revision });
      return third.spot;
    },
    by: "order",
    guard: /the status key's guard/,
  },
  {
    name: "a second live nonce of one result",
    fixture: "consensus",
    plant: (tape) => {
      const taking = tape.begin("pg.assign");
      const end = tape.endOf(taking);
      const { outcome } = end.line;
      if (outcome.kind !== "taken") throw new Error("it took a nonce");
      const [attempt] = outcome.slot.attempts;
      if (attempt === undefined) throw new Error("it has an attempt");
      const other = { ...attempt, hash: `0x${"ab".repeat(32)}`, bytes: "cd".repeat(32) };
      return tape.insertCall(end.spot, taking.line.step, {
        kind: "taken",
        slot: { ...outcome.slot, nonce: "1", attempts: [other] },
      });
    },
    by: "TraceSubmission",
    guard: /it has no other live nonce/,
  },
  {
    name: "a send before the assignment was committed",
    fixture: "consensus",
    plant: (tape) => {
      const taking = tape.begin("pg.assign");
      const sending = tape.begin("chain.send");
      return tape.moveBehind(taking.spot, sending.spot, tape.endOf(sending).spot);
    },
    by: "order",
    guard: /only bytes that are known to be committed are sent/,
  },
  {
    name: "bytes that nobody stored",
    fixture: "consensus",
    plant: (tape) => {
      const sending = tape.begin("chain.send");
      tape.edit(sending, { bytes: "ef".repeat(32) });
      return sending.spot;
    },
    by: "order",
    guard: /only stored bytes are sent/,
  },
  {
    name: "an end of a nonce that nobody saw on the chain",
    fixture: "consensus",
    plant: (tape) => {
      tape.remove(
        (line) => line.line === "saw" && line.sight.what === "receipt" && line.sight.agreed,
      );
      return tape.begin("pg.finalize").spot;
    },
    by: "TraceSubmission",
    guard: /nobody saw such a receipt or count/,
  },
  {
    name: "a result that goes again before its nonce is gone for good",
    fixture: "foreign",
    plant: (tape) => {
      tape.remove((line) => line.line === "saw" && line.sight.what === "count");
      return tape.begin("pg.finalize", ({ state }) => state === "FINALIZED_FOREIGN").spot;
    },
    by: "TraceSubmission",
    guard: /nobody saw such a receipt or count/,
  },
  {
    name: "a new nonce while the old one may still be mined",
    fixture: "foreign",
    plant: (tape) => {
      const foreign = tape.begin("pg.finalize", ({ state }) => state === "FINALIZED_FOREIGN");
      const [item] = foreign.line.step.items;
      const again = tape.last("pg.reserve", ({ items }) =>
        items.some(({ txId }) => txId === item?.txId),
      );
      // While its first nonce is only sent.
      const taken = tape.begin("pg.reserve", ({ items }) =>
        items.some(({ txId }) => txId === item?.txId),
      );
      const sent = tape.endOf(taken);
      const end = tape.endOf(again);
      tape.replace(again.spot, { ...again.line, at: sent.line.at + 1 });
      tape.replace(end.spot, { ...end.line, at: sent.line.at + 2 });
      return again.spot;
    },
    by: "TraceSubmission",
    guard: /it has no other live nonce/,
  },
  {
    name: "an inclusion of somebody else's transaction",
    fixture: "consensus",
    plant: (tape) => {
      const including = tape.begin("pg.include");
      tape.edit(including, { hash: `0x${"12".repeat(32)}` });
      return including.spot;
    },
    by: "order",
    guard: /an inclusion names an attempt that is stored for its nonce/,
  },
  {
    name: "a write of a leader that was deposed",
    fixture: "consensus",
    plant: (tape) => {
      const first = tape.begin("pg.lead");
      const including = tape.begin("pg.include");
      // Another process takes the lead before the first one's inclusion.
      const at = including.line.at - 2;
      tape.addRun("submitter-2.ndjson", first.spot.file, () => [
        { line: "begin", at, call: 0, step: first.line.step },
        { line: "end", at: at + 1, call: 0, outcome: { kind: "leads", lease: "2" } },
      ]);
      return including.spot;
    },
    by: "TraceSubmission",
    guard: /a later leader's epoch stands/,
  },
  {
    name: "CONFIRMED at inclusion, before finality",
    fixture: "consensus",
    plant: (tape) => {
      const including = tape.begin("pg.include");
      const confirm = tape.begin("etcd.commit", ({ status }) => status === "CONFIRMED");
      return tape.moveBehind(tape.endOf(including).spot, confirm.spot, tape.endOf(confirm).spot);
    },
    by: "TraceSubmission",
    guard: /only what is FINALIZED is confirmed/,
  },
  {
    name: "a step that is missing",
    fixture: "consensus",
    plant: (tape) => {
      const second = tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 2);
      const { call } = second.line;
      tape.remove(
        (line, file) =>
          file === second.spot.file &&
          (line.line === "begin" || line.line === "end") &&
          line.call === call,
      );
      return tape.begin("etcd.commit", ({ counts }) => counts[0]?.count === 3).spot;
    },
    by: "order",
    guard: /a step is missing/,
  },
];

function committed(
  tape: Tape,
  commit: Parameters<Tape["endOf"]>[0],
): { readonly revision: string } {
  const { outcome } = tape.endOf(commit).line;
  if (outcome.kind !== "committed") throw new Error("it was committed");
  return outcome;
}

describe("a wrong step that is planted into what a real run recorded is refused, at that step", () => {
  test.each(PLANTED.map((planted) => [planted.name, planted] as const))(
    "%s",
    (_, { fixture, plant, by, guard }) => {
      const tape = Tape.fixture(fixture);
      const spot = plant(tape);
      const { ok, refusals } = tape.check();
      expect(ok).toBe(false);
      const here = refusals.filter(({ place }) => {
        const { file, line } = tape.place(spot);
        return place.file === file && place.line === line;
      });
      expect(here, JSON.stringify(refusals, null, 1)).toContainEqual(
        expect.objectContaining({ by, guard: expect.stringMatching(guard) }),
      );
      // The first that is told is a planted one: nothing before it is refused.
      expect(refusals[0]?.place).toEqual(tape.place(spot));
    },
  );
});
