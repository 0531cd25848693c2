import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runChaos } from "./lib/run-chaos.ts";
import { byzantineNodes } from "./rows/byzantine-nodes.ts";
import { nodeCrash } from "./rows/node-crash.ts";

// Two of the nine rows of `npm run chaos`, with one etcd member and short faults.
const RUN_MS_MAX = 300_000;

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-chaos-cluster-test-"));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

test(
  "a cluster under load outlasts f crashed nodes, and bans and aborts what f Byzantine ones do",
  async () => {
    const results = await runChaos({
      rows: [nodeCrash, byzantineNodes],
      directory,
      seed: 1,
      rate: 4,
      etcdMembers: 1,
      pace: 0.3,
      say: () => {},
      onResult: () => {},
      signal: AbortSignal.timeout(RUN_MS_MAX - 10_000),
    });
    for (const { name, problems, outcome, invariants, trace } of results) {
      expect(problems, name).toEqual([]);
      expect(outcome, name).toBe("passed");
      expect(invariants, name).toMatchObject({ violations: 0, acceptedLost: 0 });
      expect(invariants?.acceptedVotes, name).toBeGreaterThan(0);
      expect(trace, name).toMatchObject({ refused: 0 });
      expect(trace?.commits, name).toBeGreaterThan(0);
    }
    expect(results).toHaveLength(2);
  },
  RUN_MS_MAX,
);
