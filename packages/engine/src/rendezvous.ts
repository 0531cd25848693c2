import { hash, type NodeId, type TxId, utf8 } from "@quorate/core";

/**
 * Highest-random-weight order: which live node owns a transaction, who is next,
 * and so on (R4). All nodes that see the same live set agree without talking, and
 * a node that comes or goes moves only its own share.
 *
 * A performance hint and never a safety argument: two nodes that disagree about
 * who is alive both write, and the store's guards sort it out.
 * @returns this node's place in the order, 0 for the owner; the last place when it is not in the live set.
 */
export function rendezvousRank(txId: TxId, self: NodeId, live: Iterable<NodeId>): number {
  const own = weight(txId, self);
  let rank = 0;
  for (const node of live) {
    if (node === self) continue;
    const other = weight(txId, node);
    if (other > own || (other === own && node < self)) rank++;
  }
  return rank;
}

function weight(txId: TxId, node: NodeId): number {
  const digest = hash(utf8(`${txId}\0${node}`));
  // 48 bits are exact in a JavaScript number and plenty against ties.
  let n = 0;
  for (let i = 0; i < 6; i++) n = n * 256 + (digest[i] ?? 0);
  return n;
}
