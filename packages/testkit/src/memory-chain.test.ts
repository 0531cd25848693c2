import { parseClusterId, parseEvmAddress, unwrap } from "@quorate/core";
import {
  type BlockRef,
  type RecordItem,
  type SignedTransaction,
  SignerError,
} from "@quorate/ports";
import { expect, test } from "vitest";
import { txIdOf, valueOf } from "./builders.ts";
import {
  type ChainFault,
  type ChainOperation,
  MemoryChain,
  memoryChainSigner,
} from "./memory-chain.ts";
import { SimClock } from "./sim-clock.ts";

const address = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));
const item = (id: string, value: number): RecordItem => ({
  txId: txIdOf(id),
  value: valueOf(value),
});

function world(fault: (operation: ChainOperation) => ChainFault | null = () => null) {
  const clock = new SimClock();
  const chain = new MemoryChain(
    { clusterId: unwrap(parseClusterId("test")), fault, finalizedDepth: 2 },
    { clock },
  );
  chain.fund(address, 10n ** 18n);
  const signer = memoryChainSigner(address);
  const sign = async (
    nonce: bigint,
    items: readonly RecordItem[],
    feeWei = 3_000_000_000n,
  ): Promise<SignedTransaction> =>
    signer.sign({
      chainId: chain.chainId,
      nonce,
      to: chain.contractAddress,
      data: chain.encodeBatch(items),
      valueWei: 0n,
      gasLimit: 100_000n,
      fees: { maxFeePerGasWei: feeWei, maxPriorityFeePerGasWei: feeWei / 3n },
    });
  return { clock, chain, sign };
}

test("a key is recorded once for ever, and a second try says what stands", async () => {
  const { chain, sign } = world();
  await chain.send((await sign(0n, [item("a", 1)])).raw);
  const again = await sign(1n, [item("a", 2), item("b", 3)]);
  await chain.send(again.raw);
  chain.mine();
  expect((await chain.recordOf(txIdOf("a"), "latest"))?.value).toBe(1n);
  expect((await chain.receipt(again.hash))?.events).toEqual([
    { kind: "duplicate", key: chain.keyOf(txIdOf("a")), value: 1n, same: false },
    { kind: "recorded", key: chain.keyOf(txIdOf("b")), value: 3n },
  ]);
});

test("a gap in the nonces holds back what follows", async () => {
  const { chain, sign } = world();
  const second = await sign(1n, [item("b", 2)]);
  await chain.send(second.raw);
  chain.mine();
  expect(await chain.receipt(second.hash)).toBeNull();
  await chain.send((await sign(0n, [item("a", 1)])).raw);
  chain.mine();
  expect((await chain.receipt(second.hash))?.blockNumber).toBe(2n);
  expect(await chain.transactionCount(address, "latest")).toBe(2n);
  expect(await chain.transactionCount(address, 1n)).toBe(0n);
});

test("a reorg takes receipts, records, counts and costs back", async () => {
  const { chain, sign } = world();
  const first = await sign(0n, [item("a", 1)]);
  const before = await chain.balanceWei(address);
  await chain.send(first.raw);
  chain.mine(2);
  const old = await chain.blockAt(1n);
  expect(await chain.balanceWei(address)).toBeLessThan(before);
  chain.reorg(2);
  expect(await chain.receipt(first.hash)).toBeNull();
  expect(await chain.recordOf(txIdOf("a"), "latest")).toBeNull();
  expect(await chain.transactionCount(address, "latest")).toBe(0n);
  expect(await chain.balanceWei(address)).toBe(before);
  expect((await chain.blockAt(1n))?.hash).not.toBe(old?.hash);
  expect(chain.poolSize).toBe(0);
  expect((await chain.send(first.raw)).kind).toBe("accepted");
  chain.mine();
  expect((await chain.receipt(first.hash))?.blockNumber).toBe(3n);
});

test("a reorg may put its transactions back into the pool", async () => {
  const { chain, sign } = world();
  const first = await sign(0n, [item("a", 1)]);
  await chain.send(first.raw);
  chain.mine();
  chain.reorg(1, { toPool: true });
  chain.mine();
  expect((await chain.receipt(first.hash))?.blockNumber).toBe(2n);
});

test("a send is answered as a node answers it", async () => {
  const { chain, sign } = world();
  const first = await sign(0n, [item("a", 1)]);
  expect((await chain.send(first.raw)).kind).toBe("accepted");
  expect((await chain.send(first.raw)).kind).toBe("already-known");
  expect((await chain.send((await sign(0n, [item("b", 1)])).raw)).kind).toBe("underpriced");
  expect((await chain.send((await sign(0n, [item("b", 1)], 4_000_000_000n)).raw)).kind).toBe(
    "accepted",
  );
  chain.mine();
  expect((await chain.send(first.raw)).kind).toBe("nonce-too-low");
  chain.fund(address, -(await chain.balanceWei(address)));
  expect((await chain.send((await sign(1n, [item("c", 1)])).raw)).kind).toBe("insufficient-funds");
});

test("a send may fail, be dropped, or lose its answer", async () => {
  const faults: ChainFault[] = [{ fail: true }, { drop: true }, { loseReply: true }];
  const { chain, sign } = world((operation) =>
    operation === "send" ? (faults.shift() ?? null) : null,
  );
  const { raw, hash } = await sign(0n, [item("a", 1)]);
  expect((await chain.send(raw)).kind).toBe("unreachable");
  expect([chain.sent.length, chain.poolSize]).toEqual([0, 0]);
  expect((await chain.send(raw)).kind).toBe("accepted");
  expect([chain.sent, chain.poolSize]).toEqual([[hash], 0]);
  expect((await chain.send(raw)).kind).toBe("unreachable");
  expect([chain.sent, chain.poolSize]).toEqual([[hash, hash], 1]);
});

test("finality lags behind the head, and is nowhere on a short chain", async () => {
  const { chain } = world();
  expect(await chain.finalizedHead({ kind: "finalized" })).toBeNull();
  chain.mine(3);
  expect((await chain.finalizedHead({ kind: "finalized" }))?.number).toBe(1n);
  expect((await chain.finalizedHead({ kind: "confirmations", blocks: 0 }))?.number).toBe(3n);
});

test("somebody else's transaction takes the account's nonce", async () => {
  const { chain, sign } = world();
  const mine = await sign(0n, [item("a", 1)]);
  await chain.send(mine.raw);
  chain.takeNonce(address);
  chain.mine();
  expect(await chain.receipt(mine.hash)).toBeNull();
  expect(await chain.transactionCount(address, "latest")).toBe(1n);
});

test("a watcher sees new heads one after the other, reorgs included", async () => {
  const { chain, clock } = world();
  const heads: BlockRef[] = [];
  const stop = new AbortController();
  const watch = chain.watchHeads((head) => void heads.push(head), { signal: stop.signal });
  await clock.advance(1);
  chain.mine();
  await clock.advance(1);
  chain.reorg(1);
  await clock.advance(1);
  stop.abort();
  await watch;
  expect(heads.map((h) => h.number)).toEqual([0n, 1n, 1n]);
  expect(new Set(heads.map((h) => h.hash)).size).toBe(3);
});

test("what offers less than the base fee waits in the pool until the base fee falls", async () => {
  const { chain, sign } = world();
  const { raw, hash } = await sign(0n, [item("a", 1)]);
  chain.setBaseFee(3_000_000_001n);
  await chain.send(raw);
  chain.mine(2);
  expect([await chain.receipt(hash), chain.poolSize]).toEqual([null, 1]);
  chain.setBaseFee(3_000_000_000n);
  chain.mine();
  expect((await chain.receipt(hash))?.blockNumber).toBe(3n);
  expect((await chain.head()).baseFeePerGasWei).toBe(3_000_000_000n);
  expect((await chain.suggestFees()).maxFeePerGasWei).toBe(7_000_000_000n);
});

test("a pool that was dropped takes the same bytes again", async () => {
  const { chain, sign } = world();
  const { raw, hash } = await sign(0n, [item("a", 1)]);
  await chain.send(raw);
  expect(await chain.nonceFloor(address)).toBe(1n);
  expect([chain.dropPool(), chain.poolSize]).toEqual([1, 0]);
  expect(await chain.nonceFloor(address)).toBe(0n);
  chain.mine();
  expect(await chain.receipt(hash)).toBeNull();
  expect((await chain.send(raw)).kind).toBe("accepted");
  chain.mine();
  expect((await chain.receipt(hash))?.status).toBe("success");
});

test("endpoints that disagree fail only the reads that ask for agreement", async () => {
  const { chain } = world(() => ({ disagree: true }));
  expect(await chain.transactionCount(address, "latest")).toBe(0n);
  expect(await chain.blockAt(0n)).toMatchObject({ number: 0n });
  await expect(chain.blockAt(0n, { agreed: true })).rejects.toMatchObject({ code: "RPC_DISAGREE" });
  await expect(chain.transactionCount(address, "latest", { agreed: true })).rejects.toMatchObject({
    code: "RPC_DISAGREE",
    retryable: true,
  });
});

test("planted records are among the events, and go with their block", async () => {
  const { chain, sign } = world();
  chain.plant(txIdOf("p"), valueOf(9));
  const { raw, hash } = await sign(0n, [item("p", 9), item("b", 2)]);
  await chain.send(raw);
  chain.mine();
  const [first, second, ...rest] = await chain.recordedEvents(0n, 9n);
  expect(first).toMatchObject({ value: 9n, blockNumber: 1n, logIndex: 0 });
  // The duplicate before it has a log too.
  expect(second).toMatchObject({ value: 2n, blockNumber: 2n, txHash: hash, logIndex: 1 });
  expect(rest).toEqual([]);
  chain.reorg(2);
  expect(await chain.recordedEvents(0n, 9n)).toEqual([]);
  expect(await chain.recordOf(txIdOf("p"), "latest")).toBeNull();
});

test("a report tells what fails instead of failing", async () => {
  let down = false;
  const { chain } = world(() => ({ fail: down }));
  expect(await chain.endpointReports(address, { kind: "finalized" })).toMatchObject([
    { problem: null, countLatest: 0n, balanceWei: 10n ** 18n },
  ]);
  down = true;
  expect(await chain.endpointReports(address, { kind: "finalized" })).toMatchObject([
    { problem: "read failed: by order", head: null, countLatest: null },
  ]);
});

test("a signer may be remote, and fail", async () => {
  const { chain } = world();
  const errors = [new SignerError("TIMEOUT", "no answer"), null];
  const signer = memoryChainSigner(address, {
    kind: "remote",
    fault: () => errors.shift() ?? null,
  });
  const transaction = {
    chainId: chain.chainId,
    nonce: 0n,
    to: chain.contractAddress,
    data: chain.encodeBatch([item("a", 1)]),
    valueWei: 0n,
    gasLimit: 100_000n,
    fees: await chain.suggestFees(),
  };
  expect(signer.kind).toBe("remote");
  await expect(signer.sign(transaction)).rejects.toMatchObject({ code: "TIMEOUT" });
  const signed = await signer.sign(transaction);
  expect(signed).toEqual(await memoryChainSigner(address).sign(transaction));
});
