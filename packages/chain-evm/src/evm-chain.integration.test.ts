import { parseEvmAddress, unwrap } from "@quorate/core";
import { freePort, startAnvil } from "@quorate/devkit";
import { type BlockRef, ChainError } from "@quorate/ports";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type AnvilWorld, startAnvilWorld } from "./anvil-world.ts";
import { deployRecorder } from "./deploy.ts";
import { readRecordedEvents } from "./read-events.ts";
import { createListLogger, item, items, startScriptedRpc, systemClock } from "./test-world.ts";

let world: AnvilWorld;
beforeAll(async () => {
  world = await startAnvilWorld();
});
afterAll(async () => {
  await world.stop();
});

const NOBODY = unwrap(parseEvmAddress(`0x${"99".repeat(20)}`));

async function failure(work: Promise<unknown>): Promise<ChainError> {
  const error = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof ChainError))
    throw new Error(`expected a ChainError, got ${String(error)}`);
  return error;
}

describe("a start against a real node", () => {
  test("refuses another chain and names both", async () => {
    const error = await failure(world.connect({ chainId: 1 }).start());
    expect(error).toMatchObject({ code: "WRONG_CHAIN", retryable: false });
    expect(error.message).toContain("31337");
    expect(error.message).toContain("chain 1 was expected");
  });

  test("refuses an address without the contract", async () => {
    const error = await failure(world.connect({ contractAddress: NOBODY }).start());
    expect(error).toMatchObject({ code: "NO_CONTRACT", retryable: false });
    expect(error.message).toContain(NOBODY);
  });

  test("fails for a retry when nothing listens", async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const error = await failure(world.connect({ rpcUrls: [url] }).start());
    expect(error).toMatchObject({ code: "RPC_UNREACHABLE", retryable: true });
    expect(error.message).toContain(new URL(url).host);
  });

  test("goes on with one of two endpoints dead, and so do reads and sends", async () => {
    const dead = `http://127.0.0.1:${await freePort()}`;
    for (const rpcUrls of [
      [dead, world.anvil.rpcUrl],
      [world.anvil.rpcUrl, dead],
    ]) {
      const chain = world.connect({ rpcUrls });
      await chain.start();
      expect((await chain.head()).number).toBeGreaterThan(0n);
      const { raw } = await world.sign([item(`two-${rpcUrls.indexOf(dead)}`, 1n)]);
      expect((await chain.send(raw)).kind).toBe("accepted");
      await chain.stop();
    }
  });

  test("may be repeated, and so may a stop", async () => {
    const chain = world.connect();
    await chain.start();
    await chain.start();
    await chain.stop();
    await chain.stop();
    expect((await failure(chain.head())).code).toBe("RPC_UNREACHABLE");
  });
});

describe("sending to a real node", () => {
  test("the same bytes again are already known while they wait, and harmless once mined", async () => {
    await world.rpc("evm_setAutomine", false);
    try {
      const { hash, raw } = await world.sign([item("again", 1n)]);
      expect((await world.chain.send(raw)).kind).toBe("accepted");
      expect((await world.chain.send(raw)).kind).toBe("already-known");
      expect(await world.chain.receipt(hash)).toBeNull();
      await world.rpc("anvil_mine", "0x1");
      expect((await world.chain.receipt(hash))?.status).toBe("success");
      expect((await world.chain.send(raw)).kind).toBe("nonce-too-low");
    } finally {
      await world.rpc("evm_setAutomine", true);
    }
  });

  test("another transaction under a used nonce is too low", async () => {
    await world.record([item("low", 1n)]);
    const { raw } = await world.sign([item("low-2", 1n)], { nonce: 0n });
    expect((await world.chain.send(raw)).kind).toBe("nonce-too-low");
  });

  test("a replacement that does not pay more is underpriced", async () => {
    await world.rpc("evm_setAutomine", false);
    try {
      const nonce = await world.chain.transactionCount(world.submitter.address, "latest");
      const first = await world.sign([item("replaced", 1n)], { nonce, gasLimit: 200_000n });
      expect((await world.chain.send(first.raw)).kind).toBe("accepted");
      const second = await world.sign([item("replaced", 1n)], { nonce, gasLimit: 200_001n });
      expect((await world.chain.send(second.raw)).kind).toBe("underpriced");
      await world.rpc("anvil_mine", "0x1");
    } finally {
      await world.rpc("evm_setAutomine", true);
    }
  });

  test("without the money it is insufficient-funds, with too low a fee fee-too-low, with too little gas rejected", async () => {
    const batch = [item("poor", 1n)];
    const transaction = {
      chainId: world.chain.chainId,
      nonce: await world.chain.transactionCount(world.submitter.address, "pending"),
      to: world.recorder.address,
      data: world.chain.encodeBatch(batch),
      valueWei: 0n,
      gasLimit: 200_000n,
      fees: await world.chain.suggestFees(),
    };
    const kindOf = async (change: Partial<typeof transaction>): Promise<string> => {
      const { raw } = await world.submitter.sign({ ...transaction, ...change });
      return (await world.chain.send(raw)).kind;
    };
    expect(await kindOf({ valueWei: 10n ** 30n })).toBe("insufficient-funds");
    expect(await kindOf({ fees: { maxFeePerGasWei: 1n, maxPriorityFeePerGasWei: 1n } })).toBe(
      "fee-too-low",
    );
    expect(await kindOf({ gasLimit: 100n })).toBe("rejected");
  });

  test("with nobody there it is unreachable, and does not reject", async () => {
    const chain = world.connect({ rpcUrls: [`http://127.0.0.1:${await freePort()}`] });
    const { raw } = await world.sign([item("lost", 1n)]);
    expect((await chain.send(raw)).kind).toBe("unreachable");
  });
});

describe("reading from a real node", () => {
  test("a receipt and a record go with the block that a reorg removes, and the same bytes bring them back", async () => {
    const { hash, raw } = await world.sign([item("reorged", 11n)]);
    await world.chain.send(raw);
    const before = await world.mined(hash);
    expect(await world.chain.recordOf(item("reorged", 0n).txId, "latest")).not.toBeNull();

    await world.rpc("anvil_reorg", 1, []);
    expect(await world.chain.receipt(hash)).toBeNull();
    expect(await world.chain.recordOf(item("reorged", 0n).txId, "latest")).toBeNull();
    const replaced = await world.chain.blockAt(before.blockNumber);
    expect(replaced?.hash).not.toBe(before.blockHash);

    expect((await world.chain.send(raw)).kind).toBe("accepted");
    expect((await world.mined(hash)).events).toEqual(before.events);
  });

  test("a receipt is gone after a return to an older state", async () => {
    const snapshot = await world.rpc("evm_snapshot");
    const { hash, raw } = await world.sign([item("reverted", 1n)]);
    await world.chain.send(raw);
    await world.mined(hash);
    await world.rpc("evm_revert", snapshot);
    expect(await world.chain.receipt(hash)).toBeNull();
  });

  test("a receipt tells a reverted transaction, without events", async () => {
    const { hash, raw } = await world.sign([item("refused", 1n)], {
      from: world.stranger,
      gasLimit: 200_000n,
    });
    await world.chain.send(raw);
    expect(await world.mined(hash)).toMatchObject({ status: "reverted", events: [] });
  });

  test("a record is read as it stood at the height given", async () => {
    const { blockNumber } = await world.record([item("at-height", 3n)]);
    const { txId } = item("at-height", 0n);
    expect(await world.chain.recordOf(txId, blockNumber - 1n)).toBeNull();
    expect(await world.chain.recordOf(txId, blockNumber)).toEqual({ value: 3n, blockNumber });
    // Before the contract there was no record either.
    expect(await world.chain.recordOf(txId, world.recorder.blockNumber - 1n)).toBeNull();
  });

  test("a transaction count is read as it stood at the height given", async () => {
    const { chain, submitter } = world;
    const { blockNumber } = await world.record([item("count", 1n)]);
    const latest = await chain.transactionCount(submitter.address, "latest");
    expect(await chain.transactionCount(submitter.address, blockNumber)).toBe(latest);
    expect(await chain.transactionCount(submitter.address, blockNumber - 1n)).toBe(latest - 1n);
    expect(await chain.transactionCount(submitter.address, "pending")).toBe(latest);
    expect(await chain.balanceWei(submitter.address)).toBeGreaterThan(0n);
    expect(await chain.balanceWei(NOBODY)).toBe(0n);
  });

  test("finality lies behind the head, each mode as deep as it says", async () => {
    const { chain } = world;
    const head = await chain.head();
    expect(await chain.blockAt(head.number)).toEqual(head);
    expect(await chain.blockAt(head.number + 1_000n)).toBeNull();
    expect(await chain.finalizedHead({ kind: "confirmations", blocks: 0 })).toEqual(head);
    const deep = await chain.finalizedHead({ kind: "confirmations", blocks: 5 });
    expect(deep).toEqual(await chain.blockAt(head.number - 5n));
    expect(
      await chain.finalizedHead({ kind: "confirmations", blocks: Number(head.number) + 1 }),
    ).toBeNull();
    await world.rpc("anvil_mine", "0x80");
    const top = (await chain.head()).number;
    expect((await chain.finalizedHead({ kind: "safe" }))?.number).toBe(top - 32n);
    expect((await chain.finalizedHead({ kind: "finalized" }))?.number).toBe(top - 64n);
  });

  test("a simulation by anyone but the submitter is refused by name", async () => {
    const error = await failure(
      world.chain.simulateBatch(world.stranger.address, [item("simulated", 1n)]),
    );
    expect(error).toMatchObject({ code: "REVERTED", retryable: false });
    expect(error.message.toLowerCase()).toContain(`notsubmitter(${world.stranger.address})`);
  });

  test("gas that was simulated against taken keys still suffices after a reorg freed them", async () => {
    const batch = items("freed", 50);
    const snapshot = await world.rpc("evm_snapshot");
    await world.record(batch);
    const { gasLimit } = await world.chain.simulateBatch(world.submitter.address, batch);
    await world.rpc("evm_revert", snapshot);
    const { hash, raw } = await world.sign(batch, { gasLimit });
    await world.chain.send(raw);
    const receipt = await world.mined(hash);
    expect(receipt.status).toBe("success");
    expect(receipt.events).toHaveLength(50);
  });

  test("fees outbid the base fee", async () => {
    // The next base fee is at least seven eighths of this one.
    const { baseFeePerGasWei } = await world.chain.head();
    const fees = await world.chain.suggestFees();
    expect(fees.maxPriorityFeePerGasWei).toBeGreaterThanOrEqual(1_000_000_000n);
    expect(fees.maxFeePerGasWei - fees.maxPriorityFeePerGasWei).toBeGreaterThanOrEqual(
      (2n * baseFeePerGasWei * 7n) / 8n,
    );
  });

  test("every call ends with the signal's reason when aborted", async () => {
    const { chain, submitter } = world;
    const reason = new Error("lease lost");
    const options = { signal: AbortSignal.abort(reason) };
    const { txId } = item("aborted", 1n);
    const calls: readonly (() => Promise<unknown>)[] = [
      () => chain.head(options),
      () => chain.finalizedHead({ kind: "safe" }, options),
      () => chain.blockAt(0n, options),
      () => chain.transactionCount(submitter.address, "latest", options),
      () => chain.balanceWei(submitter.address, options),
      () => chain.receipt(`0x${"00".repeat(32)}`, options),
      () => chain.recordOf(txId, "latest", options),
      () => chain.suggestFees(options),
      () => chain.simulateBatch(submitter.address, [item("aborted", 1n)], options),
      () => chain.send(Uint8Array.of(2), options),
      () => world.connect().start(options),
    ];
    for (const call of calls) await expect(call()).rejects.toBe(reason);
  });

  test("a node that stops answering is given up in time, and read again once it is back", async () => {
    const chain = world.connect({ timeoutMs: 500, unhealthyMs: 0 });
    await chain.head();
    await world.anvil.pause();
    try {
      const error = await failure(chain.head());
      expect(error).toMatchObject({ code: "RPC_UNREACHABLE", retryable: true });
      expect(error.message).toContain("no answer within 500 ms");
    } finally {
      await world.anvil.resume();
    }
    expect((await world.connect().head()).number).toBeGreaterThan(0n);
  });

  test("heads are seen as they come, also after a reorg", async () => {
    const controller = new AbortController();
    const heads: BlockRef[] = [];
    let waiting = Promise.withResolvers<BlockRef>();
    const watching = world.chain.watchHeads(
      (head) => {
        heads.push(head);
        waiting.resolve(head);
      },
      { signal: controller.signal },
    );
    const first = await waiting.promise;
    expect(first).toEqual(await world.chain.head());

    // With a transaction in it: an empty block could come out of the reorg as it was.
    waiting = Promise.withResolvers();
    await world.record([item("in-a-head", 1n)]);
    const second = await waiting.promise;
    expect(second.number).toBe(first.number + 1n);

    waiting = Promise.withResolvers();
    await world.rpc("anvil_reorg", 1, []);
    const third = await waiting.promise;
    expect(third.number).toBe(second.number);
    expect(third.hash).not.toBe(second.hash);

    controller.abort();
    await watching;
    expect(new Set(heads.map(({ hash }) => hash)).size).toBe(heads.length);
  });
});

describe("reading events independently", () => {
  test("finds each record once, in order, whatever the size of the steps", async () => {
    const from = (await world.chain.head()).number + 1n;
    await world.record([item("event-0", 0n), item("event-1", 1n)]);
    await world.rpc("anvil_mine", "0x5");
    await world.record([item("event-1", 7n), item("event-2", 2n)]);
    const to = (await world.chain.head()).number;
    const read = (blocksPerCall: number) =>
      readRecordedEvents(
        {
          rpcUrl: world.anvil.rpcUrl,
          contractAddress: world.recorder.address,
          fromBlock: from,
          toBlock: to,
          blocksPerCall,
        },
        { clock: systemClock },
      );
    const events = await read(2_000);
    expect(events.map(({ key, value }) => [key, value])).toEqual(
      [0n, 1n, 2n].map((n) => [world.chain.keyOf(item(`event-${n}`, n).txId), n]),
    );
    expect(await read(1)).toEqual(events);
    expect(await read(3)).toEqual(events);
    for (const { txHash, blockNumber } of events) {
      expect((await world.chain.receipt(txHash))?.blockNumber).toBe(blockNumber);
    }
  });

  test("narrows its steps when an endpoint refuses the range", async () => {
    const from = (await world.chain.head()).number + 1n;
    await world.record([item("narrow", 1n)]);
    await world.rpc("anvil_mine", "0xa");
    const picky = await startScriptedRpc(async (method, params) => {
      const [filter] = params;
      if (typeof filter !== "object" || filter === null) throw new Error("no filter");
      const { fromBlock, toBlock } = { fromBlock: "", toBlock: "", ...filter };
      return Number(toBlock) - Number(fromBlock) >= 3
        ? { error: { code: -32_005, message: "block range is too wide" } }
        : { result: await world.rpc(method, ...params) };
    });
    try {
      const events = await readRecordedEvents(
        {
          rpcUrl: picky.url,
          contractAddress: world.recorder.address,
          fromBlock: from,
          toBlock: (await world.chain.head()).number,
        },
        { clock: systemClock },
      );
      expect(events.map(({ value }) => value)).toEqual([1n]);
    } finally {
      await picky.close();
    }
  });

  test("fails with the endpoint's name when it cannot read", async () => {
    const rpcUrl = `http://127.0.0.1:${await freePort()}/s3cr3t-key`;
    const error = await failure(
      readRecordedEvents(
        { rpcUrl, contractAddress: world.recorder.address, fromBlock: 0n, toBlock: 1n },
        { clock: systemClock },
      ),
    );
    expect(error).toMatchObject({ code: "RPC_UNREACHABLE", retryable: true });
    expect(error.message).toContain(new URL(rpcUrl).host);
    expect(error.message).not.toContain("s3cr3t");
  });
});

describe("a deployment", () => {
  const deploy = (chainId: number, rpcUrl: string, signal?: AbortSignal) => {
    const [account] = world.anvil.accounts;
    if (account === undefined) throw new Error("anvil has no account");
    return deployRecorder(
      { rpcUrl, chainId, deployerKey: account.privateKey, submitter: world.submitter.address },
      { clock: systemClock, logger: createListLogger() },
      { signal },
    );
  };

  test("refuses the wrong chain before it sends anything", async () => {
    expect(await failure(deploy(1, world.anvil.rpcUrl))).toMatchObject({ code: "WRONG_CHAIN" });
  });

  test("waits for its block on a chain that does not mine at once", async () => {
    const anvil = await startAnvil({ chainId: 31_337, blockTimeSeconds: 1 });
    try {
      const deployed = await deploy(31_337, anvil.rpcUrl);
      const chain = world.connect({ rpcUrls: [anvil.rpcUrl], contractAddress: deployed.address });
      await chain.start();
      expect((await chain.receipt(deployed.hash))?.blockNumber).toBe(deployed.blockNumber);
      await chain.stop();
    } finally {
      await anvil.stop();
    }
  });
});
