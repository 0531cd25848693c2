import { bytesToHex, hash, type PeerId } from "@quorate/core";
import type { TallyStore } from "@quorate/ports";
import { prng } from "@quorate/testkit";
import { describe, expect, test } from "vitest";
import { fuzz, replay } from "./fuzz.ts";
import { caseFromHex, caseToHex } from "./fuzz-case.ts";
import { epochOf, honest, honestValue, ownerOf } from "./people.ts";
import { readFrame, readVote, signLeaves, truthOf, writeFrame, writeVote } from "./reference.ts";
import { type Sabotage, START_MS } from "./stage.ts";

/** The real store but for some of its methods. */
function withStore(patch: (real: TallyStore) => Partial<TallyStore>): Sabotage {
  const store = (real: TallyStore): TallyStore => {
    const patched = patch(real);
    return new Proxy(real, {
      get: (target, name): unknown => {
        const own: unknown = Reflect.get(patched, name) ?? Reflect.get(target, name);
        return typeof own === "function" ? own.bind(target) : own;
      },
    });
  };
  return { store };
}

/** Whom a message names, as a careless detector would read it. */
function namedPeer(data: Uint8Array): PeerId | null {
  const vote = readVote(readFrame(data)?.leaves[0] ?? new Uint8Array());
  if (vote === null) return null;
  return epochOf(Number(vote.epoch)).byName.get(vote.nodeId)?.peerId ?? null;
}

/** Made at the first message, as a node's caches are: what was there before the run is not looked at. */
let grown: Map<string, true> | null = null;

/** Defects put in the place of the real part, and the law that each breaks. */
const PLANTED: readonly [string, Sabotage, number, string][] = [
  [
    "signatures are not checked",
    { ed25519: () => ({ verify: () => true }) },
    500,
    "only genuine votes are let in",
  ],
  [
    "the named trustee is blamed in place of the author",
    withStore((real) => ({
      recordViolation: (entry, options) => {
        const { evidence } = entry.violation;
        const data = evidence.type === "INVALID_SIGNATURE" ? evidence.envelope.data : "";
        const peerId = namedPeer(Buffer.from(data, "base64")) ?? entry.ban.peerId;
        const violation = { ...entry.violation, peerId };
        return real.recordViolation({ violation, ban: { ...entry.ban, peerId } }, options);
      },
    })),
    1_000,
    "no honest trustee is blamed",
  ],
  [
    "a vote is counted for another value than was signed",
    withStore((real) => ({
      commit: (commits, version, options) => {
        for (const { writes } of commits)
          for (const { vote } of writes.newVotes) Reflect.set(vote, "value", 5n);
        return real.commit(commits, version, options);
      },
    })),
    500,
    "a recorded vote was signed by its trustee",
  ],
  [
    "an empty vote throws",
    {
      door: ({ data }, real) => {
        if (readFrame(data)?.leaves.some((leaf) => leaf.length === 0) === true)
          throw new RangeError("no first byte");
        return real();
      },
    },
    2_000,
    "nothing throws",
  ],
  [
    "receipts are lost",
    withStore(() => ({ recordReceipts: async () => {} })),
    300,
    "every refusal is in a receipt",
  ],
  [
    "a cache has no bound",
    {
      door: ({ data }, real) => {
        grown ??= new Map();
        grown.set(bytesToHex(hash(data)), true);
        return real();
      },
    },
    2_500,
    "every collection has a bound",
  ],
];

describe("fuzzing", () => {
  test("mutated frames throw nothing, frame nobody, get nothing forged recorded, and fill no memory", {
    timeout: 120_000,
  }, async () => {
    const report = await fuzz({ frames: 5_000, seed: 20_261_121 });
    expect(report.failure).toBeNull();
    expect(report.honestBanned).toBe(0);
    expect(report.refusals).toBe(report.receipts);
    // The fuzzer gets everywhere, or its silence would say little.
    expect(report.banned).toBeGreaterThan(50);
    for (const verdict of ["ACCEPT", "IGNORE", "REJECT", "PASSED", "REFUSED"])
      expect(report.verdicts[verdict], verdict).toBeGreaterThan(20);
    expect(report.blocksReached).toBeGreaterThan(300);
    expect(report.corpus).toBeGreaterThan(20);
  });

  test.each(PLANTED)("finds it when %s", { timeout: 120_000 }, async (_, sabotage, frames, law) => {
    const { failure } = await fuzz({ frames, seed: 4, sabotage });
    expect(failure?.law).toBe(law);
  });

  test("an input that fails can be run again alone, and passes where nothing is planted", {
    timeout: 60_000,
  }, async () => {
    const sabotage: Sabotage = { ed25519: () => ({ verify: () => true }) };
    const { failure } = await fuzz({ frames: 500, seed: 4, sabotage });
    expect(failure?.alone).toBe(true);
    expect(await replay([failure?.hex ?? ""], sabotage)).toContain("only genuine votes");
    expect(await replay([failure?.hex ?? ""])).toBeNull();
    await expect(replay(["zz"])).rejects.toThrow("hexadecimal");
  });
});

describe("what the fuzzer goes by", () => {
  const set = epochOf(1).set;
  const nodeId = epochOf(1).nameOf.get(honest(1).peerId) ?? "";
  const leaves = ["a", "b", "c"].map((txId) =>
    writeVote({
      clusterId: set.clusterId,
      epoch: 1n,
      txId,
      value: honestValue(txId),
      nodeId,
      issuedAtMs: BigInt(START_MS),
    }),
  );
  const frame = writeFrame({ signature: signLeaves(leaves, honest(1)), leaves });

  test("its own reading tells a genuine frame from one with any bit changed", () => {
    expect(truthOf(frame, 1).kind).toBe("genuine");
    const random = prng(1);
    for (let at = 0; at < frame.length; at++) {
      const changed = Uint8Array.from(frame);
      changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
      expect(truthOf(changed, 1).kind).not.toBe("genuine");
    }
  });

  test("knows whose each key is", () => {
    expect(ownerOf(honest(1).peerId)?.kind).toBe("honest");
  });

  test("a case is read back from its digits as it was written", () => {
    const who = { kind: "byzantine", epoch: 300, index: 2 } as const;
    const one = {
      target: "rpc",
      author: who,
      forwarder: { ...who, kind: "outsider" },
      epoch: 17,
      atMs: START_MS + 5,
      bytes: Uint8Array.of(1, 2, 255),
    } as const;
    expect(caseFromHex(caseToHex(one))).toEqual(one);
  });
});
