import { parseClusterId, unwrap } from "@quorate/core";
import { chainContract } from "@quorate/testkit";
import { afterAll, beforeAll } from "vitest";

import { type AnvilWorld, startAnvilWorld } from "./anvil-world.ts";

let world: AnvilWorld;
let worlds = 0;
beforeAll(async () => {
  world = await startAnvilWorld();
  await world.rpc("evm_setAutomine", false);
});
afterAll(async () => {
  await world.stop();
});

chainContract("Anvil", async () => {
  const { rpcUrl } = world.anvil;
  const chain = world.connect({
    // A cluster of its own has keys of its own: none is recorded yet.
    clusterId: unwrap(parseClusterId(`contract-${worlds++}`)),
    // The same node twice: two endpoints that agree.
    rpcUrls: [rpcUrl, `${rpcUrl}/?again`],
  });
  await chain.start();
  return {
    chain,
    signer: world.submitter,
    mine: async (count) => {
      await world.rpc("anvil_mine", `0x${count.toString(16)}`);
    },
    reorg: async (depth) => {
      await world.rpc("anvil_reorg", depth, []);
    },
    close: async () => {
      await chain.stop();
      await world.rpc("anvil_dropAllTransactions");
    },
  };
});
