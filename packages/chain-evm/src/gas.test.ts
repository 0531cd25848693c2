import { afterEach, describe, expect, test } from "vitest";

import { gasFloor } from "./gas.ts";
import { CONTRACT, chainOf, closeEndpoints, failure, serve } from "./scripted-chain.ts";
import { items, type Scripted, type ScriptedRpc } from "./test-world.ts";

afterEach(closeEndpoints);

const COUNT = 100;
const HIGHEST = 2n * gasFloor(COUNT);
const LIE = 60_000_000n;
const BATCH = items("gas", COUNT);

const estimating = (gas: bigint): Promise<ScriptedRpc> =>
  serve({ eth_estimateGas: `0x${gas.toString(16)}` });
const answering = (scripted: Scripted): Promise<ScriptedRpc> =>
  serve({}, (method) => (method === "eth_estimateGas" ? scripted : null));
const refusing = (): Promise<ScriptedRpc> =>
  answering({ error: { code: 3, message: "execution reverted" } });
const dead = (): Promise<ScriptedRpc> => answering({ status: 503, text: "" });
const padded = (gas: bigint): bigint => (gas * 120n) / 100n + 20_000n;

async function limitOf(...servers: readonly Promise<ScriptedRpc>[]): Promise<bigint> {
  const chain = chainOf(await Promise.all(servers));
  return (await chain.simulateBatch(CONTRACT, BATCH)).gasLimit;
}
const askedOf = (server: ScriptedRpc): number =>
  server.seen.filter(({ method }) => method === "eth_estimateGas").length;

describe("a gas estimate", () => {
  test("up to twice the worst case is one endpoint's word, and no other is asked", async () => {
    const second = await estimating(3_000_000n);
    expect(await limitOf(estimating(HIGHEST), Promise.resolve(second))).toBe(padded(HIGHEST));
    expect(askedOf(second)).toBe(0);
  });

  test("above that is not believed by itself: the lowest of all is taken", async () => {
    const honest = 3_000_000n;
    expect(await limitOf(estimating(HIGHEST + 1n), estimating(honest))).toBe(padded(honest));
    expect(await limitOf(estimating(LIE), estimating(honest + 1n), estimating(honest))).toBe(
      padded(honest),
    );
    expect(await limitOf(estimating(LIE), estimating(LIE - 1n))).toBe(padded(LIE - 1n));
    // Nobody else has an estimate.
    expect(await limitOf(estimating(LIE))).toBe(padded(LIE));
    expect(await limitOf(estimating(LIE), refusing(), dead())).toBe(padded(LIE));
  });

  test("of one endpoint stands against the refusal of others", async () => {
    const honest = 3_000_000n;
    expect(await limitOf(refusing(), estimating(honest))).toBe(padded(honest));
    expect(await limitOf(refusing(), dead(), refusing(), estimating(honest))).toBe(padded(honest));
  });

  test("does not wait for a silent one", async () => {
    const silent = answering({ hang: true });
    const servers = await Promise.all([refusing(), silent, estimating(3_000_000n)]);
    const chain = chainOf(servers, { timeoutMs: 600_000 });
    const { gasLimit } = await chain.simulateBatch(CONTRACT, BATCH);
    expect(gasLimit).toBe(padded(3_000_000n));
    await chain.stop();
  });

  test("that nobody has is a refusal if one endpoint refuses, and no endpoint is asked twice", async () => {
    for (const others of [[], [dead()], [refusing(), dead()]]) {
      const servers = await Promise.all([refusing(), ...others]);
      const refused = chainOf(servers).simulateBatch(CONTRACT, BATCH);
      expect(await failure(refused)).toMatchObject({ code: "REVERTED", retryable: false });
      expect(servers.map(askedOf)).toEqual(servers.map(() => 1));
    }
  });
});
