import { LIMITS, parseEvmAddress, parseTxId, parseValue, unwrap } from "@quorate/core";
import type {
  BlockRef,
  Chain,
  ChainReceipt,
  ChainSigner,
  Hex,
  RecordItem,
  SignedTransaction,
  UnsignedTransaction,
} from "@quorate/ports";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

/** One chain with the contract on it, which holds no record at first, as one test sees it. */
export interface ChainWorld {
  /** Started. */
  readonly chain: Chain;
  /** Has money, may record, and has nothing in the pool. */
  readonly signer: ChainSigner;
  /** Adds blocks; the first takes what the pool has. No block comes otherwise. */
  readonly mine: (count: number) => Promise<void>;
  /** Replaces the newest blocks by as many empty ones and forgets their transactions. */
  readonly reorg: (depth: number) => Promise<void>;
  close(): Promise<void>;
}

const NOBODY = unwrap(parseEvmAddress(`0x${"99".repeat(20)}`));
const UNKNOWN_HASH: Hex = `0x${"ab".repeat(32)}`;
const DEADLINE_MS = 20_000;

function item(id: string, value: bigint): RecordItem {
  return { txId: unwrap(parseTxId(id)), value: unwrap(parseValue(value)) };
}

function items(count: number): readonly RecordItem[] {
  return Array.from({ length: count }, (_, index) => item(`batch-${index}`, BigInt(index)));
}

/** What a test does with its world. */
class Steps {
  readonly world: ChainWorld;

  constructor(world: ChainWorld) {
    this.world = world;
  }

  /** Signed under the account's next nonce, unless told otherwise. */
  async sign(
    batch: readonly RecordItem[],
    changes: Partial<UnsignedTransaction> = {},
  ): Promise<SignedTransaction> {
    const { chain, signer } = this.world;
    return await signer.sign({
      chainId: chain.chainId,
      nonce: await chain.transactionCount(signer.address, "pending"),
      to: chain.contractAddress,
      data: chain.encodeBatch(batch),
      valueWei: 0n,
      gasLimit: (await chain.simulateBatch(signer.address, batch)).gasLimit,
      fees: await chain.suggestFees(),
      ...changes,
    });
  }

  async sendKind(raw: Uint8Array): Promise<string> {
    return (await this.world.chain.send(raw)).kind;
  }

  async receiptOf(hash: Hex): Promise<ChainReceipt> {
    const receipt = await this.world.chain.receipt(hash);
    if (receipt === null) throw new Error(`${hash} has no receipt`);
    return receipt;
  }

  /** Signs, sends and mines. */
  async record(...batch: readonly RecordItem[]): Promise<ChainReceipt> {
    const { hash, raw } = await this.sign(batch);
    expect(await this.sendKind(raw)).toBe("accepted");
    await this.world.mine(1);
    return await this.receiptOf(hash);
  }

  async latestCount(): Promise<bigint> {
    return await this.world.chain.transactionCount(this.world.signer.address, "latest");
  }
}

/** The contract of Chain: to be run on each implementation. */
export function chainContract(name: string, makeWorld: () => Promise<ChainWorld>): void {
  describe(`Chain contract: ${name}`, () => {
    let steps: Steps;
    beforeEach(async () => {
      steps = new Steps(await makeWorld());
    });
    afterEach(() => steps.world.close());
    const current = (): Steps => steps;

    recordLaws(current);
    encodingLaws(current);
    sendLaws(current);
    gasLaws(current);
    blockLaws(current);
    manyReadsLaws(current);
    transferLaws(current);
    watchLaws(current);
    lifeLaws(current);
  });
}

function recordLaws(current: () => Steps): void {
  test("a recorded value is told by the receipt and read from then on, and not before", async () => {
    const steps = current();
    const { chain } = steps.world;
    const { txId, value } = item("once", 42n);
    expect(await chain.recordOf(txId, "latest")).toBeNull();
    const receipt = await steps.record({ txId, value });
    expect(receipt.status).toBe("success");
    expect(receipt.events).toEqual([{ kind: "recorded", key: chain.keyOf(txId), value }]);
    expect(await chain.blockAt(receipt.blockNumber)).toMatchObject({ hash: receipt.blockHash });
    const { blockNumber } = receipt;
    expect(await chain.recordOf(txId, "latest")).toEqual({ value, blockNumber });
    expect(await chain.recordOf(txId, blockNumber)).toEqual({ value, blockNumber });
    expect(await chain.recordOf(txId, blockNumber - 1n)).toBeNull();
    expect(await chain.recordOf(item("another", 0n).txId, "latest")).toBeNull();
  });

  test.each([
    ["the same value", 7n, true],
    ["another value", 8n, false],
  ])(
    "%s for a recorded key changes nothing and is told with the one that stands",
    async (_, second, same) => {
      const steps = current();
      const { chain } = steps.world;
      const { txId } = item("twice", 7n);
      const first = await steps.record(item("twice", 7n));
      const receipt = await steps.record(item("twice", second));
      expect(receipt.status).toBe("success");
      expect(receipt.events).toEqual([
        { kind: "duplicate", key: chain.keyOf(txId), value: 7n, same },
      ]);
      const { blockNumber } = first;
      expect(await chain.recordOf(txId, "latest")).toEqual({ value: 7n, blockNumber });
    },
  );

  test("of a key that is twice in a batch the first value stands, and the rest of the batch too", async () => {
    const steps = current();
    const { chain } = steps.world;
    const key = chain.keyOf(item("in-one", 0n).txId);
    const { events } = await steps.record(
      item("in-one", 1n),
      item("in-one", 2n),
      item("beside", 3n),
    );
    expect(events).toEqual([
      { kind: "recorded", key, value: 1n },
      { kind: "duplicate", key, value: 1n, same: false },
      { kind: "recorded", key: chain.keyOf(item("beside", 0n).txId), value: 3n },
    ]);
    expect((await chain.recordOf(item("in-one", 0n).txId, "latest"))?.value).toBe(1n);
  });

  test("the value 0 is a record like any other, and so is the largest", async () => {
    const steps = current();
    const { chain } = steps.world;
    const ends = [item("zero", 0n), item("largest", LIMITS.valueMax)];
    const { events } = await steps.record(...ends);
    for (const [index, { txId, value }] of ends.entries()) {
      expect(events[index]).toEqual({ kind: "recorded", key: chain.keyOf(txId), value });
      expect((await chain.recordOf(txId, "latest"))?.value).toBe(value);
    }
    const again = await steps.record(item("zero", 1n));
    expect(again.events).toMatchObject([{ kind: "duplicate", value: 0n, same: false }]);
  });

  test("a reorg takes a receipt, its record and its nonce away, and the same bytes bring them back", async () => {
    const steps = current();
    const { chain, mine, reorg } = steps.world;
    const { txId } = item("reorged", 11n);
    const countBefore = await steps.latestCount();
    const { hash, raw } = await steps.sign([item("reorged", 11n)]);
    await chain.send(raw);
    await mine(1);
    const before = await steps.receiptOf(hash);
    await mine(1);

    await reorg(2);
    expect(await chain.receipt(hash)).toBeNull();
    expect(await chain.recordOf(txId, "latest")).toBeNull();
    expect(await steps.latestCount()).toBe(countBefore);
    const replaced = await chain.blockAt(before.blockNumber);
    expect(replaced).toMatchObject({ number: before.blockNumber });
    expect(replaced?.hash).not.toBe(before.blockHash);

    expect(await steps.sendKind(raw)).toBe("accepted");
    await mine(1);
    const after = await steps.receiptOf(hash);
    expect(after.events).toEqual(before.events);
    expect(after.blockNumber).toBeGreaterThan(before.blockNumber);
    expect(await steps.latestCount()).toBe(countBefore + 1n);
  });
}

function encodingLaws(current: () => Steps): void {
  test("a key is the same for the same transaction id and another for another", () => {
    const { chain } = current().world;
    const key = chain.keyOf(item("a", 0n).txId);
    expect(key).toMatch(/^0x[0-9a-f]{64}$/u);
    expect(chain.keyOf(item("a", 0n).txId)).toBe(key);
    const others = ["b", "aa", "A"].map((id) => chain.keyOf(item(id, 0n).txId));
    expect(new Set([key, ...others]).size).toBe(4);
  });

  test("a batch is encoded the same each time, with its ids, values and order", () => {
    const { chain } = current().world;
    const [a, b] = [item("a", 1n), item("b", 2n)];
    expect(chain.encodeBatch([a, b])).toBe(chain.encodeBatch([a, b]));
    const different = [[a, b], [b, a], [a], [a, item("b", 3n)]].map((one) =>
      chain.encodeBatch(one),
    );
    expect(new Set(different).size).toBe(4);
  });

  test("a batch of none and a batch above the limit are refused", () => {
    const { chain } = current().world;
    expect(() => chain.encodeBatch([])).toThrow();
    expect(() => chain.encodeBatch(items(LIMITS.chainBatchMax + 1))).toThrow();
  });
}

function sendLaws(current: () => Steps): void {
  test("the same bytes sent again have one effect, while they wait and when they are mined", async () => {
    const steps = current();
    const { chain, mine, signer } = steps.world;
    const count = await steps.latestCount();
    const { hash, raw } = await steps.sign([item("again", 1n)]);
    expect(await steps.sendKind(raw)).toBe("accepted");
    expect(["already-known", "accepted"]).toContain(await steps.sendKind(raw));
    expect(await chain.transactionCount(signer.address, "pending")).toBe(count + 1n);
    await mine(1);
    const receipt = await steps.receiptOf(hash);
    expect(receipt.events).toMatchObject([{ kind: "recorded" }]);
    expect(await steps.sendKind(raw)).toBe("nonce-too-low");
    await mine(1);
    expect(await steps.latestCount()).toBe(count + 1n);
    expect(await chain.receipt(hash)).toEqual(receipt);
  });

  test("another transaction under a used nonce is too low and has no effect", async () => {
    const steps = current();
    const { chain, mine } = steps.world;
    const nonce = await steps.latestCount();
    await steps.record(item("first", 1n));
    const late = await steps.sign([item("late", 1n)], { nonce });
    expect(await steps.sendKind(late.raw)).toBe("nonce-too-low");
    await mine(1);
    expect(await chain.receipt(late.hash)).toBeNull();
    expect(await chain.recordOf(item("late", 1n).txId, "latest")).toBeNull();
  });

  test("of two under one nonce the second must pay more, and then only it takes effect", async () => {
    const steps = current();
    const { chain, mine } = steps.world;
    const nonce = await steps.latestCount();
    const fees = await chain.suggestFees();
    const more = {
      maxFeePerGasWei: fees.maxFeePerGasWei * 2n,
      maxPriorityFeePerGasWei: fees.maxPriorityFeePerGasWei * 2n,
    };
    const first = await steps.sign([item("replaced", 1n)], { nonce, fees });
    const equal = await steps.sign([item("equal", 1n)], { nonce, fees });
    const second = await steps.sign([item("replacement", 1n)], { nonce, fees: more });
    expect(await steps.sendKind(first.raw)).toBe("accepted");
    expect(await steps.sendKind(equal.raw)).toBe("underpriced");
    expect(await steps.sendKind(second.raw)).toBe("accepted");
    await mine(1);
    expect((await steps.receiptOf(second.hash)).status).toBe("success");
    expect(await chain.receipt(first.hash)).toBeNull();
    expect(await chain.receipt(equal.hash)).toBeNull();
    expect(await steps.latestCount()).toBe(nonce + 1n);
  });

  test("a transaction behind a gap in the nonces waits until the gap is filled", async () => {
    const steps = current();
    const { chain, mine } = steps.world;
    const nonce = await steps.latestCount();
    const second = await steps.sign([item("second", 2n)], { nonce: nonce + 1n });
    expect(await steps.sendKind(second.raw)).toBe("accepted");
    await mine(1);
    expect(await chain.receipt(second.hash)).toBeNull();
    expect(await steps.latestCount()).toBe(nonce);
    const first = await steps.sign([item("first", 1n)], { nonce });
    expect(await steps.sendKind(first.raw)).toBe("accepted");
    await mine(1);
    expect((await steps.receiptOf(first.hash)).status).toBe("success");
    expect((await steps.receiptOf(second.hash)).status).toBe("success");
  });

  test("more than the account has is insufficient-funds, also as the value that is sent", async () => {
    const steps = current();
    const tooMuch = 10n ** 30n;
    const batch = [item("poor", 1n)];
    const fees = { maxFeePerGasWei: tooMuch, maxPriorityFeePerGasWei: 1n };
    expect(await steps.sendKind((await steps.sign(batch, { fees })).raw)).toBe(
      "insufficient-funds",
    );
    const { raw } = await steps.sign(batch, { valueWei: tooMuch });
    expect(await steps.sendKind(raw)).toBe("insufficient-funds");
  });

  test("a count moves by one with each transaction, and is read as it stood at a height", async () => {
    const steps = current();
    const { chain, mine, signer } = steps.world;
    const before = await steps.latestCount();
    const { raw } = await steps.sign([item("counted", 1n)]);
    await chain.send(raw);
    expect(await steps.latestCount()).toBe(before);
    expect(await chain.transactionCount(signer.address, "pending")).toBe(before + 1n);
    await mine(1);
    const { number } = await chain.head();
    expect(await steps.latestCount()).toBe(before + 1n);
    expect(await chain.transactionCount(signer.address, "pending")).toBe(before + 1n);
    expect(await chain.transactionCount(signer.address, number)).toBe(before + 1n);
    expect(await chain.transactionCount(signer.address, number - 1n)).toBe(before);
    expect(await chain.transactionCount(NOBODY, "latest")).toBe(0n);
  });

  test("there is no receipt of a hash nobody knows, nor of what waits in the pool", async () => {
    const steps = current();
    const { chain } = steps.world;
    const { hash, raw } = await steps.sign([item("waiting", 1n)]);
    await chain.send(raw);
    expect(await chain.receipt(UNKNOWN_HASH)).toBeNull();
    expect(await chain.receipt(hash)).toBeNull();
    expect(await chain.recordOf(item("waiting", 1n).txId, "latest")).toBeNull();
  });
}

function gasLaws(current: () => Steps): void {
  test.each([1, LIMITS.chainBatchMax])(
    "the simulated gas suffices for a batch of %i, and simulating changes nothing",
    async (count) => {
      const steps = current();
      const { chain, signer } = steps.world;
      const before = await steps.latestCount();
      const { gasLimit } = await chain.simulateBatch(signer.address, items(count));
      expect(await chain.transactionCount(signer.address, "pending")).toBe(before);
      const receipt = await steps.record(...items(count));
      expect(receipt.status).toBe("success");
      expect(receipt.events).toHaveLength(count);
      expect(receipt.gasUsed).toBeLessThanOrEqual(gasLimit);
    },
  );

  test("a transaction that runs out of gas is reverted: its nonce is used, and nothing is recorded", async () => {
    const steps = current();
    const { chain, mine } = steps.world;
    const before = await steps.latestCount();
    const { hash, raw } = await steps.sign(items(10), { gasLimit: 100_000n });
    expect(await steps.sendKind(raw)).toBe("accepted");
    await mine(1);
    expect(await chain.receipt(hash)).toMatchObject({ status: "reverted", events: [] });
    expect(await chain.recordOf(item("batch-0", 0n).txId, "latest")).toBeNull();
    expect(await steps.latestCount()).toBe(before + 1n);
  });

  test("less gas than any transaction needs is rejected", async () => {
    const steps = current();
    const { raw } = await steps.sign([item("no-gas", 1n)], { gasLimit: 100n });
    expect(await steps.sendKind(raw)).toBe("rejected");
  });

  test("suggested fees outbid the base fee, and what is paid lies within them", async () => {
    const steps = current();
    const { chain, signer } = steps.world;
    const fees = await chain.suggestFees();
    expect(fees.maxPriorityFeePerGasWei).toBeGreaterThan(0n);
    const { baseFeePerGasWei } = await chain.head();
    expect(fees.maxFeePerGasWei).toBeGreaterThanOrEqual(
      baseFeePerGasWei + fees.maxPriorityFeePerGasWei,
    );
    const before = await chain.balanceWei(signer.address);
    const { gasUsed } = await steps.record(item("paid", 1n));
    const paid = before - (await chain.balanceWei(signer.address));
    expect(paid).toBeGreaterThan(0n);
    expect(paid).toBeLessThanOrEqual(gasUsed * fees.maxFeePerGasWei);
    expect(await chain.balanceWei(NOBODY)).toBe(0n);
  });
}

function manyReadsLaws(current: () => Steps): void {
  test("many records are read in one call as each is by itself, in the order asked for", async () => {
    const steps = current();
    const { chain } = steps.world;
    const first = await steps.record(item("many-a", 0n), item("many-b", 2n));
    const second = await steps.record(item("many-c", 3n));
    const ids = ["many-c", "many-none", "many-a", "many-b", "many-c"].map(
      (id) => item(id, 0n).txId,
    );
    const early = { value: 0n, blockNumber: first.blockNumber };
    const late = { value: 3n, blockNumber: second.blockNumber };
    const middle = { value: 2n, blockNumber: first.blockNumber };
    for (const agreed of [false, true]) {
      expect(await chain.recordsOf(ids, "latest", { agreed })).toEqual([
        late,
        null,
        early,
        middle,
        late,
      ]);
      expect(await chain.recordsOf(ids, first.blockNumber, { agreed })).toEqual([
        null,
        null,
        early,
        middle,
        null,
      ]);
    }
    expect(await chain.recordsOf(ids, 0n)).toEqual([null, null, null, null, null]);
    expect(await chain.recordsOf([], "latest")).toEqual([]);
  });

  test("as many records as a batch holds are read at once, and more are refused", async () => {
    const { chain } = current().world;
    const ids = items(LIMITS.chainBatchMax + 1).map(({ txId }) => txId);
    const some = ids.slice(0, LIMITS.chainBatchMax);
    expect(await chain.recordsOf(some, "latest")).toEqual(some.map(() => null));
    await expect(async () => await chain.recordsOf(ids, "latest")).rejects.toThrow();
  });

  test("the events of a range are each record once, in chain order, without duplicates and reverts", async () => {
    const steps = current();
    const { chain, mine } = steps.world;
    const from = (await chain.head()).number + 1n;
    const one = await steps.record(item("ev-a", 1n), item("ev-b", 2n));
    await mine(3);
    const two = await steps.record(item("ev-a", 9n), item("ev-c", 3n));
    const { number: to } = await chain.head();
    for (const agreed of [false, true]) {
      const events = await chain.recordedEvents(from, to, { agreed });
      expect(events.map(({ key, value, txHash }) => [key, value, txHash])).toEqual([
        [chain.keyOf(item("ev-a", 0n).txId), 1n, one.hash],
        [chain.keyOf(item("ev-b", 0n).txId), 2n, one.hash],
        [chain.keyOf(item("ev-c", 0n).txId), 3n, two.hash],
      ]);
      expect(events.map(({ logIndex }) => logIndex)).toEqual([0, 1, 1]);
      expect(events.map(({ blockNumber }) => blockNumber)).toEqual([
        one.blockNumber,
        one.blockNumber,
        two.blockNumber,
      ]);
    }
    expect(await chain.recordedEvents(one.blockNumber + 1n, to)).toHaveLength(1);
    expect(await chain.recordedEvents(from, one.blockNumber)).toHaveLength(2);
    expect(await chain.recordedEvents(to + 1n, to)).toEqual([]);
  });

  test("no nonce below the floor is free: it counts what is mined and what waits", async () => {
    const steps = current();
    const { chain, mine, signer } = steps.world;
    const before = await steps.latestCount();
    expect(await chain.nonceFloor(signer.address)).toBe(before);
    const { raw } = await steps.sign([item("floor", 1n)]);
    await chain.send(raw);
    expect(await chain.nonceFloor(signer.address)).toBe(before + 1n);
    await mine(1);
    expect(await chain.nonceFloor(signer.address)).toBe(before + 1n);
    expect(await chain.nonceFloor(NOBODY)).toBe(0n);
  });

  test("agreed reads say what plain reads say when nobody lies, absence included", async () => {
    const steps = current();
    const { chain, mine, signer } = steps.world;
    const { hash, blockNumber } = await steps.record(item("agreed", 5n));
    await mine(2);
    const agreed = { agreed: true };
    const { txId } = item("agreed", 0n);
    expect(await chain.receipt(hash, agreed)).toEqual(await chain.receipt(hash));
    expect(await chain.receipt(UNKNOWN_HASH, agreed)).toBeNull();
    expect(await chain.recordOf(txId, "latest", agreed)).toEqual({ value: 5n, blockNumber });
    expect(await chain.recordOf(txId, blockNumber - 1n, agreed)).toBeNull();
    for (const at of ["latest", "pending", blockNumber - 1n] as const)
      expect(await chain.transactionCount(signer.address, at, agreed)).toBe(
        await chain.transactionCount(signer.address, at),
      );
    const two = { kind: "confirmations", blocks: 2 } as const;
    expect(await chain.finalizedHead(two, agreed)).toEqual(await chain.finalizedHead(two));
    const beyond = { ...two, blocks: Number((await chain.head()).number) + 1 };
    expect(await chain.finalizedHead(beyond, agreed)).toBeNull();
    expect(await chain.blockAt(blockNumber, agreed)).toEqual(await chain.blockAt(blockNumber));
    expect(await chain.blockAt(BigInt(beyond.blocks), agreed)).toBeNull();
  });

  test("every endpoint reports its head, its final block and the account, and hides nothing", async () => {
    const steps = current();
    const { chain, mine, signer } = steps.world;
    await mine(2);
    const { raw } = await steps.sign([item("reported", 1n)]);
    await chain.send(raw);
    const mode = { kind: "confirmations", blocks: 1 } as const;
    const reports = await chain.endpointReports(signer.address, mode);
    expect(reports.length).toBeGreaterThan(0);
    const latest = await steps.latestCount();
    for (const report of reports) {
      expect(report).toMatchObject({
        problem: null,
        head: await chain.head(),
        finalized: await chain.finalizedHead(mode),
        countLatest: latest,
        countPending: latest + 1n,
        balanceWei: await chain.balanceWei(signer.address),
      });
      expect(report.endpoint).not.toBe("");
      expect(report.latencyMs).toBeGreaterThanOrEqual(0);
    }
  });
}

function transferLaws(current: () => Steps): void {
  test("a transfer of nothing to oneself takes a nonce and records nothing", async () => {
    const steps = current();
    const { chain, mine, signer } = steps.world;
    const from = (await chain.head()).number + 1n;
    const nonce = await steps.latestCount();
    const gap = await steps.sign([item("instead", 1n)], {
      nonce,
      to: signer.address,
      data: "0x",
      gasLimit: 21_000n,
    });
    const behind = await steps.sign([item("behind", 2n)], { nonce: nonce + 1n });
    expect(await steps.sendKind(behind.raw)).toBe("accepted");
    expect(await steps.sendKind(gap.raw)).toBe("accepted");
    await mine(1);
    expect(await steps.receiptOf(gap.hash)).toMatchObject({
      status: "success",
      gasUsed: 21_000n,
      events: [],
    });
    expect((await steps.receiptOf(behind.hash)).events).toMatchObject([{ kind: "recorded" }]);
    expect(await steps.latestCount()).toBe(nonce + 2n);
    const { number } = await chain.head();
    expect(await chain.recordedEvents(from, number)).toHaveLength(1);
  });

  test("a call that is not the contract's records nothing, though it carries a batch", async () => {
    const steps = current();
    const { chain, mine, signer } = steps.world;
    const { hash, raw } = await steps.sign([item("elsewhere", 1n)], { to: signer.address });
    expect(await steps.sendKind(raw)).toBe("accepted");
    await mine(1);
    expect((await steps.receiptOf(hash)).events).toEqual([]);
    expect(await chain.recordOf(item("elsewhere", 1n).txId, "latest")).toBeNull();
  });
}

function blockLaws(current: () => Steps): void {
  test("the head moves on by one with each block, and every block is read by its height", async () => {
    const { chain, mine } = current().world;
    const before = await chain.head();
    await mine(3);
    const head = await chain.head();
    expect(head.number).toBe(before.number + 3n);
    expect(head.timestampSeconds).toBeGreaterThanOrEqual(before.timestampSeconds);
    expect(await chain.blockAt(head.number)).toEqual(head);
    expect(await chain.blockAt(before.number)).toEqual(before);
    expect(await chain.blockAt(head.number + 1n)).toBeNull();
  });

  test("the final block lies as many blocks behind the head as confirmations are asked for", async () => {
    const { chain, mine } = current().world;
    await mine(5);
    const head = await chain.head();
    const behind = (blocks: number) => chain.finalizedHead({ kind: "confirmations", blocks });
    expect(await behind(0)).toEqual(head);
    expect(await behind(5)).toEqual(await chain.blockAt(head.number - 5n));
    expect((await behind(Number(head.number)))?.number).toBe(0n);
    expect(await behind(Number(head.number) + 1)).toBeNull();
  });

  test("on a long chain finalized lies behind safe, and safe behind the head", async () => {
    const { chain, mine } = current().world;
    await mine(100);
    const head = await chain.head();
    const safe = await chain.finalizedHead({ kind: "safe" });
    const finalized = await chain.finalizedHead({ kind: "finalized" });
    if (safe === null || finalized === null) throw new Error("the chain is long enough");
    expect(safe.number).toBeLessThan(head.number);
    expect(finalized.number).toBeLessThanOrEqual(safe.number);
    expect(await chain.blockAt(safe.number)).toEqual(safe);
  });
}

function watchLaws(current: () => Steps): void {
  test("heads are told one after the other, the newest at last, a reorg's too", async () => {
    const steps = current();
    const { chain, mine, reorg } = steps.world;
    const stop = new AbortController();
    const heads: BlockRef[] = [];
    let [running, runningMax] = [0, 0];
    let told = Promise.withResolvers<void>();
    const watching = chain.watchHeads(
      async (head) => {
        runningMax = Math.max(runningMax, ++running);
        heads.push(head);
        // Two blocks more while this one is still being worked on.
        if (heads.length === 1) await mine(2);
        running--;
        told.resolve();
      },
      { signal: stop.signal },
    );
    const tells = async (): Promise<void> => {
      const signal = AbortSignal.timeout(DEADLINE_MS);
      for (const { hash } = await chain.head(); heads.at(-1)?.hash !== hash || running > 0; ) {
        if (signal.aborted) throw new Error("the newest head was never told");
        await told.promise;
        told = Promise.withResolvers();
      }
    };
    await told.promise;
    await tells();
    await steps.record(item("in-a-head", 1n));
    await tells();
    await reorg(1);
    await tells();
    stop.abort();
    await watching;
    expect(runningMax).toBe(1);
    expect(new Set(heads.map(({ hash }) => hash)).size).toBe(heads.length);
    const [beforeReorg, afterReorg] = heads.slice(-2);
    expect(afterReorg?.number).toBe(beforeReorg?.number);
  });

  test("a watch ends in peace when aborted, before its first head too, and when the client stops", async () => {
    const { chain } = current().world;
    const heads: BlockRef[] = [];
    const onHead = (head: BlockRef): void => void heads.push(head);
    await chain.watchHeads(onHead, { signal: AbortSignal.abort() });
    expect(heads).toEqual([]);
    const stop = new AbortController();
    const once = Promise.withResolvers<void>();
    const watching = chain.watchHeads(() => once.resolve(), { signal: stop.signal });
    await once.promise;
    stop.abort();
    await watching;
    const first = Promise.withResolvers<void>();
    const untilStopped = chain.watchHeads(() => first.resolve(), {});
    await first.promise;
    await chain.stop();
    await untilStopped;
  });
}

function lifeLaws(current: () => Steps): void {
  test("every call rejects with the signal's reason when aborted", async () => {
    const { chain, signer } = current().world;
    const { raw } = await current().sign([item("aborted", 1n)]);
    const reason = new Error("lease lost");
    const options = { signal: AbortSignal.abort(reason) };
    const { txId } = item("aborted", 1n);
    const calls: readonly (() => Promise<unknown>)[] = [
      () => chain.head(options),
      () => chain.finalizedHead({ kind: "confirmations", blocks: 0 }, options),
      () => chain.blockAt(0n, options),
      () => chain.blockAt(0n, { ...options, agreed: true }),
      () => chain.transactionCount(signer.address, "latest", options),
      () => chain.balanceWei(signer.address, options),
      () => chain.receipt(UNKNOWN_HASH, options),
      () => chain.recordOf(txId, "latest", options),
      () => chain.recordOf(txId, "latest", { ...options, agreed: true }),
      () => chain.recordsOf([txId], "latest", options),
      () => chain.recordedEvents(0n, 1n, options),
      () => chain.nonceFloor(signer.address, options),
      () => chain.endpointReports(signer.address, { kind: "confirmations", blocks: 0 }, options),
      () => chain.suggestFees(options),
      () => chain.simulateBatch(signer.address, [item("aborted", 1n)], options),
      () => chain.send(raw, options),
    ];
    for (const call of calls) await expect(call()).rejects.toBe(reason);
    expect(await chain.transactionCount(signer.address, "pending")).toBe(
      await current().latestCount(),
    );
  });

  test("start and stop may be repeated, and a stopped client reads and sends no more", async () => {
    const { chain, mine } = current().world;
    const { raw } = await current().sign([item("stopped", 1n)]);
    await chain.start();
    await chain.start();
    await chain.stop();
    await chain.stop();
    await expect(chain.head()).rejects.toMatchObject({ code: "RPC_UNREACHABLE" });
    expect((await chain.send(raw)).kind).toBe("unreachable");
    await mine(1);
  });
}
