import { gossipsub } from "@chainsafe/libp2p-gossipsub";
import { assert, type PeerId } from "@quorate/core";
import type { GossipMessage } from "@quorate/ports";
import { messageOf } from "./envelope.ts";
import {
  peerIdFromCanonicalMultihash,
  peerIdFromSeed,
  privateKeyFromSeed,
  toLibp2pPeerId,
} from "./identity.ts";
import { quietLogger } from "./quiet-logger.ts";
import { type GuardRules, hardenRouter, type RawRpc } from "./router-guard.ts";
import { routerOptions } from "./router-options.ts";

/**
 * For fuzzing: the hardened GossipSub without a network under it. What it is handed goes through the
 * same decoder, limits, guard and signature check as bytes from a stream, and nothing is ever sent.
 */
export interface OfflineRouter {
  /**
   * Has one RPC of a peer read. Rejects with what was thrown while it was handled; bytes that are no RPC are passed over.
   * @returns the messages that the validator would be asked about
   */
  read(forwarder: PeerId, rpc: Uint8Array): Promise<readonly GossipMessage[]>;
}

/** @param seed of the node's own key, 32 bytes. */
export function offlineRouter(
  seed: Uint8Array,
  rules: Omit<GuardRules, "authorOf" | "self" | "turn">,
): OfflineRouter {
  const self = peerIdFromSeed(seed);
  // It is never started, so it asks nothing of the parts that would reach other peers.
  const components = Object.assign(Object.create(null), {
    privateKey: privateKeyFromSeed(seed),
    peerId: toLibp2pPeerId(self),
    logger: quietLogger,
  });
  // What is against the authors is the guard's business: no score is kept of peers that are not connected.
  const options = routerOptions(rules.topic, () => false);
  const all = {
    ...rules,
    self,
    authorOf: peerIdFromCanonicalMultihash,
    // Nobody else waits here.
    turn: async (): Promise<void> => {},
  };
  const router = hardenRouter(gossipsub(options)(components), all);
  const peers: unknown = router.peers;
  const subscriptions: unknown = Reflect.get(router, "subscriptions");
  assert(peers instanceof Map, "gossipsub keeps its peers in a map");
  assert(subscriptions instanceof Set, "gossipsub keeps its own subscriptions in a set");
  subscriptions.add(rules.topic);
  // GossipSub swallows what throws while it handles an RPC; here it is to be seen.
  const failures: unknown[] = [];
  const handle = router.handleReceivedRpc.bind(router);
  router.handleReceivedRpc = (from, rpc) =>
    handle(from, rpc).catch((error: unknown) => void failures.push(error));
  let heard: GossipMessage[] = [];
  router.addEventListener("gossipsub:message", ({ detail }) => heard.push(messageOf(detail)));
  return {
    read: async (forwarder, rpc) => {
      // Only a connected peer is heard.
      peers.set(forwarder, {});
      heard = [];
      async function* stream(): AsyncIterable<RawRpc> {
        yield { byteLength: rpc.length, subarray: () => rpc };
      }
      const pipe: unknown = Reflect.get(router, "pipePeerReadStream");
      assert(typeof pipe === "function", "gossipsub reads streams of RPCs");
      await pipe.call(router, toLibp2pPeerId(forwarder), stream());
      const [failure] = failures.splice(0);
      if (failure !== undefined) throw failure;
      return heard;
    },
  };
}
