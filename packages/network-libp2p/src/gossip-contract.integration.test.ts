import { gossipContract } from "@quorate/testkit";
import { addressOf, deadline, eventually, stopAll, testNode } from "./test-kit.ts";

gossipContract("libp2p over TCP", async () => {
  const made: ReturnType<typeof testNode>["gossip"][] = [];
  const node = (options: Parameters<typeof testNode>[1] = {}) => {
    const bootstrap = made
      .filter((one) => one.status().listening.length > 0)
      .map((one) => addressOf(one));
    const { gossip } = testNode(made.length + 1, { bootstrap, ...options });
    made.push(gossip);
    return gossip;
  };
  return {
    node: () => node(),
    line: async () => {
      const b = node();
      await b.start();
      // The ends listen nowhere, so neither can dial the other.
      const bootstrap = [addressOf(b)];
      const [a, c] = [node({ listen: [], bootstrap }), node({ listen: [], bootstrap })];
      await Promise.all([a.start(), c.start()]);
      await b.waitForPeers(2, { signal: deadline() });
      await Promise.all([a, c].map((end) => end.waitForPeers(1, { signal: deadline() })));
      await eventually("b's mesh holds both", () => b.status().mesh.length === 2);
      return [a, b, c];
    },
    close: stopAll,
  };
});
