import { parseClusterId, unwrap } from "@quorate/core";
import type { Chain } from "@quorate/ports";
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
  // A cluster of its own has keys of its own: none is recorded yet.
  const clusterId = unwrap(parseClusterId(`contract-${worlds++}`));
  const sender = world.connect({ clusterId });
  // The same node twice: two endpoints that agree. Sends go to one of them: of two to one node
  // the second may be told first, and that the transaction is known already.
  const reader = world.connect({ clusterId, rpcUrls: [rpcUrl, `${rpcUrl}/?again`] });
  const chain: Chain = {
    ...reader,
    send: (raw, options) => sender.send(raw, options),
    stop: async () => {
      await reader.stop();
      await sender.stop();
    },
  };
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
