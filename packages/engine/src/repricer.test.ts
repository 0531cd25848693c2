import { SignerError } from "@quorate/ports";
import { memoryChainSigner, txIdOf } from "@quorate/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import type { SubmissionSender } from "./submission-sender.ts";
import { ETHER, GWEI, SenderWorld } from "./test-sender-world.ts";

let world: SenderWorld;
let sender: SubmissionSender;

beforeEach(async () => {
  world = new SenderWorld();
  sender = world.senderWith(await world.lead());
});

const options = (): { readonly signal: AbortSignal } => ({ signal: world.signal });

async function sent(...ids: readonly string[]): Promise<void> {
  await world.queue(...ids);
  await sender.sendQueued(options());
}

describe("a transaction that the market outbids", () => {
  test("is replaced after the deadline by one that offers at least 12.5 % more of both, stored before it is sent", async () => {
    await sent("a");
    world.chain.setBaseFee(20n * GWEI);
    await world.heads(sender, 9);
    expect((await world.slots())[0]?.attempts).toHaveLength(1);
    await world.heads(sender, 3);
    expect(await world.states("a")).toEqual(["INCLUDED"]);
    const [slot] = await world.slots();
    expect(slot?.attempts.map((a) => a.kind)).toEqual(["ORIGINAL", "BUMP"]);
    const [original, bump] = slot?.attempts ?? [];
    for (const field of ["maxFeePerGasWei", "maxPriorityFeePerGasWei"] as const)
      expect((bump?.[field] ?? 0n) * 1_000n).toBeGreaterThanOrEqual(
        (original?.[field] ?? 0n) * 1_125n,
      );
    await world.heads(sender, 3);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
    expect([world.uncommitted, await world.recorded(txIdOf("a"))]).toEqual([0, 1]);
  });

  test("that is mined after all, while its replacement is on the way, counts all the same", async () => {
    await sent("a");
    world.chain.setBaseFee(20n * GWEI);
    let stored = false;
    world.storeFault = (operation, when) => {
      if (operation === "addAttempt" && when === "after") stored = true;
    };
    world.chainFault = (operation) => {
      if (operation !== "send" || !stored) return null;
      // The replacement never arrives, and the original is cheap enough again.
      world.chain.setBaseFee(GWEI);
      return { drop: true };
    };
    await world.heads(sender, 16);
    const detail = await world.submissions.detail(txIdOf("a"));
    expect(detail?.slots.flatMap((s) => s.attempts.map((a) => a.kind))).toEqual([
      "ORIGINAL",
      "BUMP",
    ]);
    expect(detail?.submission).toMatchObject({
      state: "FINALIZED",
      txHash: detail?.slots[0]?.attempts[0]?.hash,
    });
    expect(await world.recorded(txIdOf("a"))).toBe(1);
  });

  test("whose replacement could not be committed sends nothing new", async () => {
    await sent("a");
    const before = world.chain.sent.length;
    world.chain.setBaseFee(20n * GWEI);
    world.storeFault = (operation, when) => {
      if (operation === "addAttempt" && when === "before") throw new Error("away");
    };
    await expect(world.heads(sender, 12)).rejects.toThrow("away");
    expect(new Set(world.chain.sent).size).toBe(1);
    expect(world.chain.sent.length).toBeGreaterThanOrEqual(before);
    expect(world.uncommitted).toBe(0);
  });

  test("is never replaced above the cap: a person is told, and the same bytes go on being sent", async () => {
    await sent("a");
    world.chain.setBaseFee(500n * GWEI);
    await world.heads(sender, 120);
    const [slot] = await world.slots();
    for (const { maxFeePerGasWei } of slot?.attempts ?? [])
      expect(maxFeePerGasWei).toBeLessThanOrEqual(100n * GWEI);
    expect(sender.problem).toContain("fee cap");
    expect(world.metrics.value("submitter_fee_cap_reached")).toBe(1);
    expect(await world.states("a")).toEqual(["ASSIGNED"]);
    world.chain.setBaseFee(GWEI);
    await world.heads(sender, 8);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
    expect(sender.problem).toBeNull();
    expect(world.metrics.value("submitter_fee_cap_reached")).toBe(0);
  });

  test("is not replaced while there is no money for it", async () => {
    await sent("a");
    world.chain.setBaseFee(20n * GWEI);
    world.chain.fund(world.sender.address, -ETHER + 1n);
    await world.heads(sender, 15);
    expect((await world.slots())[0]?.attempts).toHaveLength(1);
    expect(sender.problem).toContain("a replacement may cost");
    world.chain.fund(world.sender.address, ETHER);
    await world.heads(sender, 6);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
  });

  test("behind the head of the line is replaced only when the market has outbid it too", async () => {
    await sent("a", "b", "c", "d");
    const [first] = await world.slots();
    world.chainFault = (operation) => (operation === "send" ? { drop: true } : null);
    world.chain.dropPool();
    world.chain.poolHeld = true;
    await world.heads(sender, 12);
    const kinds = (await world.slots()).map((s) => s.attempts.map((a) => a.kind).join());
    expect(kinds).toEqual(["ORIGINAL,BUMP", "ORIGINAL"]);
    expect((await world.slots())[0]?.nonce).toBe(first?.nonce);
  });
});

describe("a transaction that does not move at any price", () => {
  test("is cancelled by an empty one, and its results go again under another nonce", async () => {
    sender = world.senderWith(await world.lead(), { cancelAfterMs: 30_000, bumpAfterMs: 10_000 });
    await sent("a");
    world.chain.poolHeld = true;
    await world.heads(sender, 45);
    const [slot] = await world.slots();
    expect(slot?.attempts.at(-1)?.kind).toBe("CANCEL");
    expect(sender.problem).toContain("being cancelled");
    world.chain.poolHeld = false;
    await world.heads(sender, 4);
    expect(await world.states("a")).toEqual(["QUEUED"]);
    expect(await world.recorded(txIdOf("a"))).toBe(0);
    await sender.sendQueued(options());
    await world.heads(sender, 4);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
    expect([world.uncommitted, await world.recorded(txIdOf("a"))]).toEqual([0, 1]);
  });
});

describe("a nonce that nobody uses", () => {
  test("is filled after the deadline, so that what is behind it can be mined", async () => {
    // The floor was raised over what a pool held and then forgot.
    sender = world.senderWith(await world.lead(2n));
    await sent("a");
    await world.heads(sender, 5);
    expect(await world.slots()).toHaveLength(1);
    expect(await world.states("a")).toEqual(["ASSIGNED"]);
    await world.heads(sender, 12);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
    expect(await world.chain.transactionCount(world.sender.address, "latest")).toBe(3n);
    expect(world.metrics.value("submission_attempts_total", { kind: "GAPFILL" })).toBe(2);
    expect(world.uncommitted).toBe(0);
    await world.heads(sender, 3);
    expect(await world.slots()).toEqual([]);
  });

  test("is left alone while endpoints do not agree that it is free", async () => {
    sender = world.senderWith(await world.lead(2n));
    await sent("a");
    world.chainFault = () => ({ disagree: true });
    await expect(world.heads(sender, 15)).rejects.toThrow("by order");
    expect(world.metrics.value("submission_attempts_total", { kind: "GAPFILL" })).toBe(0);
  });
});

describe("a remote signer", () => {
  const away = new SignerError("UNREACHABLE", "nobody answers");

  test("that is away leaves the nonce reserved, and is asked again at each head", async () => {
    let isAway = true;
    const real = memoryChainSigner(world.sender.address);
    sender = world.senderWith(
      await world.lead(),
      {},
      {
        ...real,
        kind: "remote",
        sign: async (transaction) => {
          if (isAway) throw away;
          return real.sign(transaction);
        },
      },
    );
    await sent("a");
    expect((await world.slots()).map((s) => s.state)).toEqual(["RESERVED"]);
    expect(sender.problem).toContain("nobody answers");
    expect(await world.states("a")).toEqual(["ASSIGNED"]);
    await world.heads(sender, 2);
    expect(world.chain.sent).toEqual([]);
    isAway = false;
    await world.heads(sender, 5);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
    expect(sender.problem).toBeNull();
    expect([world.uncommitted, await world.recorded(txIdOf("a"))]).toEqual([0, 1]);
  });

  test("is never asked inside the database's transaction", async () => {
    const real = memoryChainSigner(world.sender.address);
    const seen: string[] = [];
    sender = world.senderWith(
      await world.lead(),
      {},
      {
        ...real,
        kind: "remote",
        sign: async (transaction) => {
          // Inside a transaction this would wait for itself for ever.
          seen.push(...(await world.slots()).map((s) => s.state));
          return real.sign(transaction);
        },
      },
    );
    await sent("a");
    expect(seen).toEqual(["RESERVED"]);
    expect(world.chain.sent).toHaveLength(1);
  });

  test("whose reserved nonce somebody else takes loses nothing", async () => {
    const real = memoryChainSigner(world.sender.address);
    let isAway = true;
    sender = world.senderWith(
      await world.lead(),
      {},
      {
        ...real,
        kind: "remote",
        sign: async (transaction) => {
          if (isAway) throw away;
          return real.sign(transaction);
        },
      },
    );
    await sent("a");
    world.chain.takeNonce(world.sender.address);
    await world.heads(sender, 4);
    expect(await world.states("a")).toEqual(["QUEUED"]);
    isAway = false;
    await sender.sendQueued(options());
    await world.heads(sender, 4);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
    expect(await world.recorded(txIdOf("a"))).toBe(1);
  });

  test("that is slow is asked once, though the next head comes by meanwhile", async () => {
    const real = memoryChainSigner(world.sender.address);
    const answer = Promise.withResolvers<void>();
    let asked = 0;
    sender = world.senderWith(
      await world.lead(),
      {},
      {
        ...real,
        kind: "remote",
        sign: async (transaction) => {
          asked++;
          await answer.promise;
          return real.sign(transaction);
        },
      },
    );
    await world.queue("a");
    const sending = sender.sendQueued(options());
    while (asked === 0) await Promise.resolve();
    await world.heads(sender, 2);
    answer.resolve();
    await sending;
    await world.heads(sender, 4);
    expect([asked, ...(await world.states("a"))]).toEqual([1, "FINALIZED"]);
  });

  test("that is away later does not stop what is signed from being sent again", async () => {
    const real = memoryChainSigner(world.sender.address);
    let isAway = false;
    sender = world.senderWith(
      await world.lead(),
      {},
      {
        ...real,
        kind: "remote",
        sign: async (transaction) => {
          if (isAway) throw away;
          return real.sign(transaction);
        },
      },
    );
    await sent("a");
    isAway = true;
    world.chain.dropPool();
    world.chain.poolHeld = true;
    await world.heads(sender, 30);
    expect(sender.problem).toContain("nobody answers");
    world.chain.poolHeld = false;
    await world.heads(sender, 8);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
    expect(new Set(world.chain.sent).size).toBe(1);
  });
});

describe("an offer at the cap", () => {
  test("leaves room to cancel", async () => {
    sender = world.senderWith(await world.lead(), { cancelAfterMs: 30_000 });
    // A lie about the market takes the offer as far as it may go.
    world.chain.setBaseFee(500n * GWEI);
    await sent("a");
    world.chain.setBaseFee(GWEI);
    world.chain.poolHeld = true;
    await world.heads(sender, 60);
    const kinds = (await world.slots())[0]?.attempts.map((a) => a.kind);
    expect(kinds).toEqual(["ORIGINAL", "CANCEL"]);
    world.chain.poolHeld = false;
    await world.heads(sender, 4);
    await sender.sendQueued(options());
    await world.heads(sender, 4);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
  });

  test("cancelled over and over quarantines nothing", async () => {
    sender = world.senderWith(await world.lead(), { cancelAfterMs: 20_000, requeuesMax: 1 });
    await world.queue("a");
    for (let round = 0; round < 3; round++) {
      world.chain.poolHeld = true;
      await sender.sendQueued(options());
      await world.heads(sender, 35);
      world.chain.poolHeld = false;
      await world.heads(sender, 4);
      expect(await world.states("a")).toEqual(["QUEUED"]);
    }
    await sender.sendQueued(options());
    await world.heads(sender, 4);
    expect(await world.states("a")).toEqual(["FINALIZED"]);
    expect(await world.recorded(txIdOf("a"))).toBe(1);
  });
});

test("what etcd has aborted is not sent, nor sent again, however it came into the queue", async () => {
  await world.queue("a", "b");
  world.aborted.add(txIdOf("a"));
  await sender.sendQueued(options());
  await world.heads(sender, 4);
  expect(await world.states("a", "b")).toEqual(["ABORTED", "FINALIZED"]);
  expect(await world.recorded(txIdOf("a"))).toBe(0);
});
