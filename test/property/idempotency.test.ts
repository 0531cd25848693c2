import { encodeFrame } from "@quorate/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { ClusterWorld } from "./cluster-world.ts";

const TRUSTEES = 5;
const THRESHOLD = 4;
const TX = "tx";

interface Again {
  readonly afterMs: number;
  /** The same bytes in a new message, the same word signed again, or the very call repeated. */
  readonly how: "re-publish" | "re-sign" | "say again";
  readonly to: readonly number[];
}

interface Word {
  readonly voter: number;
  readonly value: number;
  readonly atMs: number;
  /** Who hears it first hand. */
  readonly to: readonly number[];
  readonly again: readonly Again[];
}

const to = fc.uniqueArray(fc.nat(TRUSTEES - 1), { minLength: 2, maxLength: TRUSTEES });

const again: fc.Arbitrary<Again> = fc.record({
  afterMs: fc.oneof(fc.nat(30), fc.nat(500)),
  how: fc.constantFrom("re-publish" as const, "re-sign" as const, "re-sign", "say again" as const),
  to,
});

/** One word of each trustee that speaks at all; most say the same. */
const words: fc.Arbitrary<readonly Word[]> = fc.uniqueArray(
  fc.record({
    voter: fc.nat(TRUSTEES - 1),
    value: fc.constantFrom(7, 7, 7, 7, 8),
    atMs: fc.nat(300),
    to,
    again: fc.array(again, { minLength: 1, maxLength: 6 }),
  }),
  { selector: ({ voter }) => voter, minLength: 1, maxLength: TRUSTEES, size: "max" },
);

function deliver(world: ClusterWorld, word: Word, repeated: boolean): void {
  const { voter, value, atMs } = word;
  const { clock } = world;
  const frame: { bytes: Uint8Array } = { bytes: new Uint8Array() };
  clock.schedule(atMs, () => {
    frame.bytes = encodeFrame(world.frameOf(voter, TX, value));
    void world.publish(voter, frame.bytes, word.to);
  });
  if (!repeated) return;
  for (const { afterMs, how, to } of word.again)
    clock.schedule(atMs + 1 + afterMs, () => {
      if (how === "re-publish") void world.publish(voter, frame.bytes, to);
      else if (how === "re-sign")
        void world.publish(voter, encodeFrame(world.frameOf(voter, TX, value)), to);
      else void world.publish(voter, frame.bytes);
    });
}

/** All that the votes came to. The reason of an abort may depend on the order of arrival, and nothing else does. */
async function outcomeOf(plan: readonly Word[], repeated: boolean, seed: number): Promise<unknown> {
  const world = await ClusterWorld.open({
    trustees: TRUSTEES,
    threshold: THRESHOLD,
    seed,
  });
  try {
    for (const word of plan) deliver(world, word, repeated);
    await world.settle();
    const { status, record, votes, violations } = await world.snapshot(TX);
    const counts = new Map<string, number>();
    for (const set of world.history)
      for (const change of set.changes)
        if (change.kind === "count") counts.set(`${change.value}`, change.count);
    return {
      status,
      value: record?.value ?? null,
      votes: [...votes].map(([node, { vote }]) => `${node}=${vote.value}`).sort(),
      counts: [...counts].map(([value, count]) => `${value}: ${count}`).sort(),
      violations: [...violations].map(([node, types]) => `${node} ${[...types].join()}`).sort(),
      bans: [...(await world.bans())].map(([node, { reason }]) => `${node} ${reason}`).sort(),
      votesWritten: world.history
        .flatMap(({ changes }) => changes)
        .filter(({ kind }) => kind === "vote").length,
    };
  } finally {
    await world.close();
  }
}

describe("[spec §14.1, 1] idempotency: Submit(vote)ⁿ = Submit(vote)", () => {
  it(
    "any number of repetitions, by whatever way, of votes of five nodes come to what each vote once comes to",
    async () => {
      await fc.assert(
        fc.asyncProperty(words, fc.nat(), async (plan, seed) => {
          expect(await outcomeOf(plan, true, seed)).toEqual(await outcomeOf(plan, false, seed));
        }),
        budget("idempotency", 15),
      );
    },
    patience(),
  );
});
