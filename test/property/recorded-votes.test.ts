import { txIdOf } from "@quorate/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { budget, patience } from "./budget.ts";
import { ClusterWorld } from "./cluster-world.ts";

const TRUSTEES = 5;

const plans = fc.record({
  threshold: fc.integer({ min: 1, max: TRUSTEES }),
  casts: fc.uniqueArray(
    fc.record({
      node: fc.nat(TRUSTEES - 1),
      tx: fc.constantFrom("tx-a", "tx-b", "tx-c"),
      atMs: fc.nat(500),
    }),
    { selector: ({ node, tx }) => `${node}/${tx}`, minLength: 1, maxLength: 12, size: "max" },
  ),
  seed: fc.nat(),
});

describe("[I8, I11] what a trustee is told of its vote", () => {
  it(
    "is RECORDED only when the tally has it, and every vote that was taken is recorded in the end, over lost replies",
    async () => {
      await fc.assert(
        fc.asyncProperty(plans, async ({ threshold, casts, seed }) => {
          const world = await ClusterWorld.open({
            trustees: TRUSTEES,
            threshold,
            seed,
            faulty: true,
          });
          try {
            const told: string[] = [];
            const early: string[] = [];
            const has = (node: number, tx: string): boolean => {
              const nodeId = world.cluster.nodes[node]?.nodeId;
              const votes = world.shared.transactions.get(txIdOf(tx))?.votes;
              return nodeId !== undefined && votes?.has(nodeId) === true;
            };
            for (const { node, tx, atMs } of casts)
              world.clock.schedule(atMs, () => {
                void world.cast(node, tx, 7).then(({ kind }) => {
                  told.push(kind);
                  if (kind === "RECORDED" && !has(node, tx)) early.push(`${node} in ${tx}`);
                });
              });
            await world.settle();
            expect(early, "told before the commit").toEqual([]);
            expect(told).toEqual(casts.map(() => "RECORDED"));
            for (const { node, tx } of casts) expect(has(node, tx), `${node} in ${tx}`).toBe(true);
          } finally {
            await world.close();
          }
        }),
        budget("recorded votes", 15),
      );
    },
    patience(),
  );
});
