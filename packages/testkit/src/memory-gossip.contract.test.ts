import { assert } from "@quorate/core";
import type { Clock } from "@quorate/ports";
import { nodeAt, testCluster } from "./builders.ts";
import { gossipContract } from "./contracts/gossip.contract.ts";
import { MemoryGossip, MemoryNetwork } from "./memory-gossip.ts";
import { SimClock } from "./sim-clock.ts";

const cluster = testCluster({ trustees: 5, threshold: 3 });

/** Time that runs by itself: a frame needs no help to arrive. */
function runningClock(): Clock {
  const clock = new SimClock();
  return {
    nowMs: () => clock.nowMs(),
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms, options) => clock.sleep(ms, options),
    schedule: (ms, callback) => {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
  };
}

gossipContract("memory", async () => {
  let isLine = false;
  const net = new MemoryNetwork(
    { clock: runningClock() },
    {
      forwards: true,
      // In a line only neighbours are linked.
      linked: (one, other) => !isLine || Math.abs(placeOf(one) - placeOf(other)) === 1,
    },
  );
  const nodes: MemoryGossip[] = [];
  const placeOf = (peer: string): number =>
    nodes.findIndex(({ localPeerId }) => localPeerId === peer);
  const node = (): MemoryGossip => {
    const made = new MemoryGossip(nodeAt(cluster, nodes.length), net);
    nodes.push(made);
    return made;
  };
  return {
    node,
    line: async () => {
      isLine = true;
      const line = [node(), node(), node()] as const;
      for (const each of line) await each.start();
      return line;
    },
    outsider: async (victim) => {
      assert(isLine && placeOf(victim.localPeerId) === nodes.length - 1, "the end of a line");
      const outsider = node();
      await outsider.start();
      return {
        peerId: outsider.localPeerId,
        copy: async ({ envelope }) => {
          const identity = nodeAt(cluster, nodes.indexOf(outsider));
          const copy = net.seal(identity, envelope.data, envelope.sequenceNumber);
          outsider.forward({ author: outsider.localPeerId, envelope: copy });
        },
      };
    },
    close: async () => {
      for (const each of nodes) await each.stop();
    },
  };
});
