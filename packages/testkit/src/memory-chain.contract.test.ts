import { parseClusterId, parseEvmAddress, unwrap } from "@quorate/core";
import { chainContract } from "./contracts/chain.contract.ts";
import { MemoryChain, memoryChainSigner } from "./memory-chain.ts";
import { SimClock } from "./sim-clock.ts";

const ADDRESS = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));

chainContract("memory", async () => {
  const chain = new MemoryChain(
    { clusterId: unwrap(parseClusterId("test")) },
    { clock: new SimClock() },
  );
  chain.fund(ADDRESS, 10n ** 20n);
  await chain.start();
  return {
    chain,
    signer: memoryChainSigner(ADDRESS),
    mine: async (count) => chain.mine(count),
    reorg: async (depth) => chain.reorg(depth),
    close: () => chain.stop(),
  };
});
