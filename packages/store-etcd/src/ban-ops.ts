import type { PeerId } from "@quorate/core";
import type { ICompare, IRequestOp } from "etcd3";
import type { Keys } from "./keys.ts";
import { absent, get } from "./ops.ts";

export interface BanOps {
  /** Holds while the peer is not banned. */
  readonly absent: ICompare;
  readonly get: IRequestOp;
}

// Several trustee sets' worth. Beyond it the cache begins anew.
const PEERS_MAX = 1_000;
const caches = new WeakMap<Keys, Map<PeerId, BanOps>>();

/** Every commit names the same few peers: their operations are made once. */
export function banOps(keys: Keys, peerId: PeerId): BanOps {
  let cache = caches.get(keys);
  if (cache === undefined) {
    cache = new Map();
    caches.set(keys, cache);
  }
  let ops = cache.get(peerId);
  if (ops === undefined) {
    const key = keys.banned(peerId);
    ops = { absent: absent(key), get: get(key) };
    if (cache.size >= PEERS_MAX) cache.clear();
    cache.set(peerId, ops);
  }
  return ops;
}
