import type { Gossip } from "@quorate/ports";
import { gossipContract } from "@quorate/testkit";
import { RawPeer, stopRawPeers } from "./raw-peer.ts";
import { addressOf, deadline, eventually, seedOf, stopAll, testNode } from "./test-kit.ts";

gossipContract("libp2p over TCP", async () => {
  const outsiders = new Map<Gossip, RawPeer>();
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
      const a = node({ listen: [], bootstrap });
      // The last one also dials a peer that nobody else hears of, for it speaks no DHT.
      const outsider = await RawPeer.start(seedOf(200), { listen: ["/ip4/127.0.0.1/tcp/0"] });
      const c = node({ listen: [], bootstrap: [...bootstrap, outsider.address] });
      outsiders.set(c, outsider);
      await Promise.all([a.start(), c.start()]);
      await b.waitForPeers(2, { signal: deadline() });
      await Promise.all([a, c].map((end) => end.waitForPeers(1, { signal: deadline() })));
      await eventually("b's mesh holds both", () => b.status().mesh.length === 2);
      return [a, b, c];
    },
    outsider: async (victim) => {
      const peer = outsiders.get(victim);
      if (peer === undefined) throw new Error("only the last of a line has an outsider at hand");
      await peer.joined();
      return {
        peerId: peer.peerId,
        copy: async ({ envelope }) => {
          const seqno = envelope.sequenceNumber;
          peer.send({ messages: [await peer.message(envelope.data, { seqno })] });
        },
      };
    },
    close: async () => {
      await stopRawPeers();
      await stopAll();
    },
  };
});
