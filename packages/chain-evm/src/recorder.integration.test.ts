import { LIMITS } from "@quorate/core";
import type { ChainSigner, Hex } from "@quorate/ports";
import { decodeErrorResult, decodeFunctionResult, encodeFunctionData, keccak256 } from "viem";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type AnvilWorld, startAnvilWorld } from "./anvil-world.ts";
import { addressHex, parseHex } from "./hex.ts";
import { isRecord } from "./json-rpc.ts";
import { recorderAbi, recorderRuntimeBytecode } from "./recorder.generated.ts";
import { item, items } from "./test-world.ts";

// The contract itself, on a real EVM.

const ZERO: Hex = `0x${"00".repeat(20)}`;
const KEY = keccak256("0x01");

let world: AnvilWorld;
beforeAll(async () => {
  world = await startAnvilWorld();
});
afterAll(async () => {
  await world.stop();
});

const abi = recorderAbi;
const encode = {
  record: (key: Hex, value: bigint): Hex =>
    encodeFunctionData({ abi, functionName: "record", args: [key, value] }),
  batch: (keys: readonly Hex[], values: readonly bigint[]): Hex =>
    encodeFunctionData({ abi, functionName: "recordBatch", args: [keys, values] }),
  setSubmitter: (to: Hex): Hex =>
    encodeFunctionData({ abi, functionName: "setSubmitter", args: [to] }),
  transferOwnership: (to: Hex): Hex =>
    encodeFunctionData({ abi, functionName: "transferOwnership", args: [to] }),
  acceptOwnership: (): Hex => encodeFunctionData({ abi, functionName: "acceptOwnership" }),
};

/** The custom error a call reverts with; null when it goes through. */
async function revertOf(from: ChainSigner, data: Hex): Promise<string | null> {
  const response = await fetch(world.anvil.rpcUrl, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "eth_call",
      params: [{ from: from.address, to: world.recorder.address, data }, "latest"],
    }),
  });
  const body: unknown = await response.json();
  if (!isRecord(body)) throw new Error("no JSON-RPC answer");
  if (!isRecord(body["error"])) return null;
  const revert = parseHex(body["error"]["data"]);
  if (revert === null || revert === "0x") return "plain revert";
  const { errorName, args } = decodeErrorResult({ abi, data: revert });
  // viem leaves `args` out when there are none, whatever its types say.
  return `${errorName}(${(args ?? []).map((arg) => String(arg).toLowerCase()).join(", ")})`;
}

async function addressAt(functionName: "owner" | "pendingOwner" | "submitter"): Promise<string> {
  const data = encodeFunctionData({ abi, functionName });
  const answer = parseHex(
    await world.rpc("eth_call", { to: world.recorder.address, data }, "latest"),
  );
  if (answer === null) throw new Error("no answer");
  return decodeFunctionResult({ abi, functionName, data: answer }).toLowerCase();
}

async function recordsAt(keys: readonly Hex[]): Promise<readonly unknown[]> {
  const data = encodeFunctionData({ abi, functionName: "recordsOf", args: [keys] });
  const answer = parseHex(
    await world.rpc("eth_call", { to: world.recorder.address, data }, "latest"),
  );
  if (answer === null) throw new Error("no answer");
  return decodeFunctionResult({ abi, functionName: "recordsOf", data: answer });
}

async function recordAt(key: Hex): Promise<readonly [boolean, bigint, bigint]> {
  const data = encodeFunctionData({ abi, functionName: "recordOf", args: [key] });
  const answer = parseHex(
    await world.rpc("eth_call", { to: world.recorder.address, data }, "latest"),
  );
  if (answer === null) throw new Error("no answer");
  return decodeFunctionResult({ abi, functionName: "recordOf", data: answer });
}

describe("records", () => {
  test("stand for ever: the second value for a key is refused and reported", async () => {
    const first = await world.record([item("once", 42n)]);
    const key = world.chain.keyOf(item("once", 0n).txId);
    expect(first.events).toEqual([{ kind: "recorded", key, value: 42n }]);

    const other = await world.record([item("once", 43n)]);
    expect(other.status).toBe("success");
    expect(other.events).toEqual([{ kind: "duplicate", key, value: 42n, same: false }]);

    const same = await world.record([item("once", 42n)]);
    expect(same.events).toEqual([{ kind: "duplicate", key, value: 42n, same: true }]);

    expect(await world.chain.recordOf(item("once", 0n).txId, "latest")).toEqual({
      value: 42n,
      blockNumber: first.blockNumber,
    });
  });

  test("of a batch go through though some of its keys are taken", async () => {
    await world.record([item("mixed-1", 1n)]);
    const receipt = await world.record([
      item("mixed-0", 0n),
      item("mixed-1", 9n),
      item("mixed-2", 2n),
    ]);
    expect(receipt.events.map(({ kind, value }) => [kind, value])).toEqual([
      ["recorded", 0n],
      ["duplicate", 1n],
      ["recorded", 2n],
    ]);
  });

  test("take the first of two values for one key inside a batch", async () => {
    const receipt = await world.record([item("twice", 5n), item("twice", 6n)]);
    expect(receipt.events.map(({ kind, value }) => [kind, value])).toEqual([
      ["recorded", 5n],
      ["duplicate", 5n],
    ]);
    expect((await world.chain.recordOf(item("twice", 0n).txId, "latest"))?.value).toBe(5n);
  });

  test("fill a batch of 200", async () => {
    const batch = items("full", LIMITS.chainBatchMax);
    const receipt = await world.record(batch);
    expect(receipt.events).toEqual(
      batch.map(({ txId, value }) => ({ kind: "recorded", key: world.chain.keyOf(txId), value })),
    );
    const perItem = Number(receipt.gasUsed) / batch.length;
    expect(perItem).toBeLessThan(26_000);
  });

  test("hold the least and the greatest value, and 0 is not absence", async () => {
    await world.record([item("least", 0n), item("greatest", LIMITS.valueMax)]);
    expect((await world.chain.recordOf(item("least", 0n).txId, "latest"))?.value).toBe(0n);
    expect((await world.chain.recordOf(item("greatest", 0n).txId, "latest"))?.value).toBe(
      LIMITS.valueMax,
    );
    expect(await world.chain.recordOf(item("absent", 0n).txId, "latest")).toBeNull();
  });

  test("of the value 0 stand like any other", async () => {
    const key = world.chain.keyOf(item("zero", 0n).txId);
    await world.record([item("zero", 0n)]);
    const again = await world.record([item("zero", 5n)]);
    expect(again.events).toEqual([{ kind: "duplicate", key, value: 0n, same: false }]);
    expect((await world.chain.recordOf(item("zero", 0n).txId, "latest"))?.value).toBe(0n);
  });

  test("of many keys are told in one call, in the order of the keys, to anybody", async () => {
    const { blockNumber } = await world.record([item("view-a", 0n), item("view-b", 9n)]);
    const [a, b, none] = ["view-a", "view-b", "view-none"].map((id) =>
      world.chain.keyOf(item(id, 0n).txId),
    );
    if (a === undefined || b === undefined || none === undefined) throw new Error("no keys");
    const record = (value: bigint) => ({ value, blockNumber, set: true });
    const nothing = { value: 0n, blockNumber: 0n, set: false };
    const expected = [record(9n), nothing, record(0n), record(9n)];
    expect(await recordsAt([b, none, a, b])).toEqual(expected);
    expect(await recordsAt([])).toEqual([]);
    expect(await recordsAt(Array.from({ length: 400 }, () => none))).toHaveLength(400);
  });

  test("can be made one by one", async () => {
    expect(await world.transact(world.submitter, encode.record(KEY, 7n))).toBe("success");
    expect(await world.transact(world.submitter, encode.record(KEY, 8n))).toBe("success");
    const [recorded, value] = await recordAt(KEY);
    expect([recorded, value]).toEqual([true, 7n]);
  });

  test("can be made by the submitter alone, not even by the owner", async () => {
    for (const signer of [world.owner, world.stranger]) {
      const refusal = `NotSubmitter(${signer.address})`;
      expect(await revertOf(signer, encode.record(keccak256("0x02"), 1n))).toBe(refusal);
      expect(await revertOf(signer, encode.batch([keccak256("0x02")], [1n]))).toBe(refusal);
      expect(await world.transact(signer, encode.record(keccak256("0x02"), 1n))).toBe("reverted");
    }
    expect((await recordAt(keccak256("0x02")))[0]).toBe(false);
  });

  test("are refused when the batch is malformed", async () => {
    const { submitter } = world;
    expect(await revertOf(submitter, encode.batch([], []))).toBe("EmptyBatch()");
    expect(await revertOf(submitter, encode.batch([KEY, KEY], [1n]))).toBe("LengthMismatch(2, 1)");
    expect(await revertOf(submitter, encode.batch([KEY], [1n, 2n]))).toBe("LengthMismatch(1, 2)");
    const tooMany = Array.from({ length: 201 }, () => KEY);
    expect(
      await revertOf(
        submitter,
        encode.batch(
          tooMany,
          tooMany.map(() => 1n),
        ),
      ),
    ).toBe("BatchTooLarge(201, 200)");
  });

  test("take no value beyond 64 bits", async () => {
    const data = encode.record(keccak256("0x03"), 1n);
    const tooLarge = parseHex(`${data.slice(0, -64)}${(2n ** 64n).toString(16).padStart(64, "0")}`);
    if (tooLarge === null) throw new Error("bad call data");
    expect(await revertOf(world.submitter, tooLarge)).toBe("plain revert");
  });
});

describe("the contract", () => {
  test("is the bytecode that was compiled", async () => {
    expect(await world.rpc("eth_getCode", world.recorder.address, "latest")).toBe(
      recorderRuntimeBytecode,
    );
  });

  test("takes no ether", async () => {
    expect(await world.transact(world.submitter, "0x", 1n)).toBe("reverted");
    expect(await world.transact(world.submitter, encode.record(KEY, 1n), 1n)).toBe("reverted");
  });

  test("has no function that could change or delete a record", () => {
    const names = abi.flatMap((entry) =>
      entry.type === "function" && entry.stateMutability === "nonpayable" ? [entry.name] : [],
    );
    expect(names.toSorted()).toEqual([
      "acceptOwnership",
      "record",
      "recordBatch",
      "setSubmitter",
      "transferOwnership",
    ]);
    expect(recorderRuntimeBytecode.length).toBeGreaterThan(2);
  });
});

describe("roles", () => {
  test("the owner alone appoints the submitter, and never nobody", async () => {
    const { owner, submitter, stranger } = world;
    const next = addressHex(stranger.address);
    expect(await revertOf(stranger, encode.setSubmitter(next))).toBe(
      `NotOwner(${stranger.address})`,
    );
    expect(await revertOf(submitter, encode.setSubmitter(next))).toBe(
      `NotOwner(${submitter.address})`,
    );
    expect(await revertOf(owner, encode.setSubmitter(ZERO))).toBe("ZeroAddress()");

    expect(await world.transact(owner, encode.setSubmitter(next))).toBe("success");
    expect(await addressAt("submitter")).toBe(stranger.address);
    expect(await revertOf(submitter, encode.record(KEY, 1n))).toBe(
      `NotSubmitter(${submitter.address})`,
    );
    expect(await revertOf(stranger, encode.record(KEY, 1n))).toBeNull();
    expect(await world.transact(owner, encode.setSubmitter(addressHex(submitter.address)))).toBe(
      "success",
    );
  });

  test("ownership passes only when the nominated one accepts", async () => {
    const { owner, stranger, submitter } = world;
    const next = addressHex(stranger.address);
    expect(await revertOf(stranger, encode.transferOwnership(next))).toBe(
      `NotOwner(${stranger.address})`,
    );
    expect(await revertOf(owner, encode.transferOwnership(ZERO))).toBe("ZeroAddress()");
    expect(await revertOf(stranger, encode.acceptOwnership())).toBe(
      `NotPendingOwner(${stranger.address})`,
    );

    expect(await world.transact(owner, encode.transferOwnership(next))).toBe("success");
    expect(await addressAt("owner")).toBe(owner.address);
    expect(await addressAt("pendingOwner")).toBe(stranger.address);
    expect(await revertOf(submitter, encode.acceptOwnership())).toBe(
      `NotPendingOwner(${submitter.address})`,
    );

    expect(await world.transact(stranger, encode.acceptOwnership())).toBe("success");
    expect(await addressAt("owner")).toBe(stranger.address);
    expect(await addressAt("pendingOwner")).toBe(ZERO);
    expect(await revertOf(owner, encode.setSubmitter(next))).toBe(`NotOwner(${owner.address})`);
  });
});
