import {
  type EvmAddress,
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  unwrap,
} from "@quorate/core";
import type { Hex, SenderLease } from "@quorate/ports";
import {
  type ChainFault,
  type ChainOperation,
  createMemorySubmissionStore,
  MemoryChain,
  type MemorySubmissionStore,
  memoryChainSigner,
  memoryLogger,
  memoryMetrics,
  SimClock,
  txIdOf,
  valueOf,
} from "@quorate/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import { submitterMetrics } from "./catalogue.ts";
import { FencedError } from "./fenced-error.ts";
import { type SenderOptions, SubmissionSender } from "./submission-sender.ts";

const address: EvmAddress = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));
const clusterId = unwrap(parseClusterId("test"));
const epoch = unwrap(parseEpoch(1));
const ETHER = 10n ** 18n;
const GWEI = 10n ** 9n;

let clock: SimClock;
let chain: MemoryChain;
let submissions: MemorySubmissionStore;
let lease: SenderLease;
let sender: SubmissionSender;
let chainFault: (operation: ChainOperation) => ChainFault | null;
let storeFault: (operation: string, when: "before" | "after") => void;
/** What reached the chain although no committed attempt holds it. */
let uncommitted: number;
const { signal } = new AbortController();

beforeEach(async () => {
  clock = new SimClock();
  chainFault = () => null;
  storeFault = () => {};
  uncommitted = 0;
  chain = new MemoryChain(
    {
      clusterId,
      fault: (operation) => chainFault(operation),
      onSend: async (raw) => {
        const fault = storeFault;
        storeFault = () => {};
        const slots = await submissions.liveSlots({ chainId: chain.chainId, address });
        storeFault = fault;
        const attempts = slots.flatMap((slot) => slot.attempts);
        if (!attempts.some((a) => Buffer.compare(a.raw, raw) === 0)) uncommitted++;
      },
    },
    { clock },
  );
  submissions = createMemorySubmissionStore({
    nowMs: () => clock.nowMs(),
    faults: {
      before: (operation) => storeFault(operation, "before"),
      after: (operation) => storeFault(operation, "after"),
    },
  });
  chain.fund(address, ETHER);
  lease = await submissions.becomeLeader({ chainId: chain.chainId, address }, 0n);
  await submissions.markHistoryChecked(lease);
  sender = senderWith(lease);
});

const OPTIONS: SenderOptions = {
  batchMax: 2,
  windowMax: 3,
  finality: { kind: "confirmations", blocks: 2 },
  resendHeads: 3,
  bumpAfterMs: 60_000,
  cancelAfterMs: 600_000,
  feeCapWei: 100n * GWEI,
  requeuesMax: 3,
};

function senderWith(of: SenderLease, changes: Partial<SenderOptions> = {}): SubmissionSender {
  return new SubmissionSender(
    of,
    { ...OPTIONS, ...changes },
    {
      chain,
      signer: memoryChainSigner(address),
      submissions,
      clock,
      logger: memoryLogger(),
      metrics: submitterMetrics(memoryMetrics()),
      aborts: { abortedAmong: async () => new Set() },
    },
  );
}

async function queue(...ids: readonly string[]): Promise<void> {
  const rows = ids.map((id) => ({
    txId: txIdOf(id),
    key: chain.keyOf(txIdOf(id)),
    value: valueOf(7),
    epoch,
    decisionRevision: 1n,
  }));
  await submissions.enqueue(rows, { chainId: chain.chainId, address });
  sender.noteQueued(ids.map(txIdOf));
}

/** New heads, each looked at as the service does it. */
async function heads(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    chain.mine();
    await sender.reconcile(chain.tip.number, { signal });
  }
}

const state = async (id: string): Promise<string | undefined> =>
  (await submissions.get(txIdOf(id)))?.state;

const rawOf = async (hash: Hex | undefined): Promise<Uint8Array | undefined> =>
  (await submissions.liveSlots({ chainId: chain.chainId, address }))
    .flatMap((slot) => slot.attempts)
    .find((a) => a.hash === hash)?.raw;

describe("sending", () => {
  test("queued results are batched, sent, included and finalized, each once", async () => {
    await queue("a", "b", "c");
    await sender.sendQueued({ signal });
    expect(chain.sent).toHaveLength(2);
    expect([await state("a"), await state("c")]).toEqual(["ASSIGNED", "ASSIGNED"]);
    await heads(1);
    expect(await state("a")).toBe("INCLUDED");
    await heads(2);
    expect(await Promise.all(["a", "b", "c"].map(state))).toEqual(Array(3).fill("FINALIZED"));
    expect(chain.sent).toHaveLength(2);
    expect(uncommitted).toBe(0);
  });

  test("nothing is sent that was not read back committed: a commit that fails sends nothing", async () => {
    await queue("a");
    storeFault = (operation, when) => {
      if (operation === "assign" && when === "before") throw new Error("away");
    };
    await expect(sender.sendQueued({ signal })).rejects.toThrow("away");
    expect(chain.sent).toEqual([]);
    expect(await state("a")).toBe("QUEUED");
  });

  test("a commit whose reply is lost is found and sent later, with the bytes that were committed", async () => {
    await queue("a");
    storeFault = (operation, when) => {
      if (operation === "assign" && when === "after") throw new Error("lost");
    };
    await expect(sender.sendQueued({ signal })).rejects.toThrow("lost");
    storeFault = () => {};
    expect(chain.sent).toEqual([]);
    await heads(4);
    expect(new Set(chain.sent).size).toBe(1);
    expect(uncommitted).toBe(0);
    await heads(3);
    expect(await state("a")).toBe("FINALIZED");
  });

  test.each([
    ["fails", { fail: true }],
    ["is swallowed", { drop: true }],
    ["loses its answer", { loseReply: true }],
  ])("a send that %s is repeated with the same bytes", async (_what, fault) => {
    await queue("a");
    let faults = 2;
    chainFault = (operation) => (operation === "send" && faults-- > 0 ? fault : null);
    await sender.sendQueued({ signal });
    await heads(12);
    expect(await state("a")).toBe("FINALIZED");
    expect(new Set(chain.sent).size).toBe(1);
    expect(await chain.transactionCount(address, "latest")).toBe(1n);
  });

  test("no more nonces are in flight than the window allows", async () => {
    await queue("a", "b", "c", "d", "e", "f", "g", "h", "i", "j");
    chain.poolHeld = true;
    await sender.sendQueued({ signal });
    expect(await chain.transactionCount(address, "pending")).toBe(3n);
    chain.poolHeld = false;
    for (let i = 0; i < 4; i++) {
      await heads(3);
      await sender.sendQueued({ signal });
    }
    await heads(3);
    expect((await submissions.counts()).FINALIZED).toBe(10);
    expect(uncommitted).toBe(0);
  });

  test("without money nothing is signed, and it goes on when there is some", async () => {
    await queue("a");
    chain.fund(address, -ETHER);
    await sender.sendQueued({ signal });
    expect(sender.problem).toContain("holds 0 wei");
    expect(chain.sent).toEqual([]);
    expect(await state("a")).toBe("QUEUED");
    chain.fund(address, ETHER);
    await sender.sendQueued({ signal });
    expect(sender.problem).toBeNull();
    expect(chain.sent).toHaveLength(1);
  });

  test("a batch that the contract refuses is not signed", async () => {
    await queue("a");
    chain.revertReason = "not the submitter";
    await sender.sendQueued({ signal });
    expect(sender.problem).toContain("not the submitter");
    expect([chain.sent.length, await state("a")]).toEqual([0, "QUEUED"]);
  });

  test("a frozen sender signs nothing", async () => {
    await queue("a");
    await submissions.freeze({ chainId: chain.chainId, address }, "maintenance");
    await sender.sendQueued({ signal });
    expect(sender.problem).toContain("frozen");
    expect(chain.sent).toEqual([]);
  });
});

describe("reorgs", () => {
  test.each([
    ["forgets its transactions", false],
    ["returns them to the pool", true],
  ])("after a reorg that %s the same bytes are sent, and it ends final", async (_what, toPool) => {
    await queue("a");
    await sender.sendQueued({ signal });
    await heads(1);
    const [first] = chain.sent;
    const raw = await rawOf(first);
    expect(await state("a")).toBe("INCLUDED");
    chain.poolHeld = true;
    chain.reorg(1, { toPool });
    await sender.reconcile(chain.tip.number, { signal });
    expect(await state("a")).toBe("ASSIGNED");
    await heads(4);
    expect(new Set(chain.sent)).toEqual(new Set([first]));
    expect(chain.sent.length).toBeGreaterThan(1);
    expect(await rawOf(first)).toEqual(raw);
    chain.poolHeld = false;
    await heads(4);
    expect(await state("a")).toBe("FINALIZED");
    expect((await chain.recordOf(txIdOf("a"), "latest"))?.value).toBe(7n);
    expect(uncommitted).toBe(0);
  });

  test("an inclusion in another block than before is noted with that block", async () => {
    await queue("a");
    await sender.sendQueued({ signal });
    await heads(1);
    chain.reorg(1, { toPool: true });
    chain.mine();
    await sender.reconcile(chain.tip.number, { signal });
    const [slot] = await submissions.liveSlots({ chainId: chain.chainId, address });
    expect(slot?.included?.blockNumber).toBe(chain.tip.number);
    expect(slot?.included?.blockHash).toBe(chain.tip.hash);
  });

  test("nothing is final before it is deep enough", async () => {
    await queue("a");
    await sender.sendQueued({ signal });
    await heads(2);
    expect(await state("a")).toBe("INCLUDED");
    await heads(1);
    expect(await state("a")).toBe("FINALIZED");
  });
});

describe("others on the same chain", () => {
  test("a key that holds the same value already counts as final", async () => {
    chain.plant(txIdOf("a"), valueOf(7));
    await queue("a");
    await sender.sendQueued({ signal });
    expect(await state("a")).toBe("QUEUED");
    await heads(3);
    await sender.sendQueued({ signal });
    expect(await state("a")).toBe("FINALIZED");
    expect(chain.sent).toEqual([]);
  });

  test("a key that holds another value is quarantined, and its batch goes on", async () => {
    chain.plant(txIdOf("a"), valueOf(8));
    await queue("a", "b");
    await sender.sendQueued({ signal });
    await heads(3);
    await sender.sendQueued({ signal });
    expect([await state("a"), await state("b")]).toEqual(["QUARANTINED", "FINALIZED"]);
    expect((await chain.recordOf(txIdOf("a"), "latest"))?.value).toBe(8n);
  });

  test("a nonce that somebody else took is given up only when that is final, and its results go again", async () => {
    await queue("a", "b");
    chainFault = (operation) => (operation === "send" ? { fail: true } : null);
    await sender.sendQueued({ signal });
    chain.plant(txIdOf("b"), valueOf(8));
    chain.takeNonce(address);
    chainFault = () => null;
    await sender.reconcile(chain.tip.number, { signal });
    expect(await state("a")).toBe("ASSIGNED");
    await heads(2);
    expect([await state("a"), await state("b")]).toEqual(["QUEUED", "QUARANTINED"]);
    await sender.sendQueued({ signal });
    await heads(3);
    expect(await state("a")).toBe("FINALIZED");
    expect(uncommitted).toBe(0);
  });
});

describe("leadership", () => {
  test("a deposed leader stops before it signs or sends anything more", async () => {
    await queue("a");
    await submissions.becomeLeader(lease, 0n);
    await expect(sender.sendQueued({ signal })).rejects.toBeInstanceOf(FencedError);
    expect(chain.sent).toEqual([]);
    expect(await state("a")).toBe("QUEUED");
  });

  test("a leader that is deposed between the commit and the send sends nothing", async () => {
    await queue("a");
    let deposed = false;
    storeFault = (operation, when) => {
      if (operation === "assign" && when === "after") deposed = true;
      if (operation === "isLeader" && when === "before" && deposed) {
        deposed = false;
        throw new Error("stop here");
      }
    };
    await expect(sender.sendQueued({ signal })).rejects.toThrow("stop here");
    const next = senderWith(await submissions.becomeLeader(lease, 0n));
    await expect(sender.reconcile(chain.tip.number, { signal })).rejects.toBeInstanceOf(
      FencedError,
    );
    expect(chain.sent).toEqual([]);
    // The next leader finds the slot and sends the bytes that are committed.
    await next.reconcile(chain.tip.number, { signal });
    expect(chain.sent).toHaveLength(1);
    expect(uncommitted).toBe(0);
  });

  test("two leaders that both believe in themselves record every result once", async () => {
    await queue("a", "b", "c", "d");
    await sender.sendQueued({ signal });
    const old = sender;
    sender = senderWith(await submissions.becomeLeader(lease, 0n));
    await queue("e");
    await expect(old.sendQueued({ signal })).rejects.toBeInstanceOf(FencedError);
    await sender.sendQueued({ signal });
    await heads(5);
    expect((await submissions.counts()).FINALIZED).toBe(5);
    expect(await chain.transactionCount(address, "latest")).toBe(3n);
  });
});
