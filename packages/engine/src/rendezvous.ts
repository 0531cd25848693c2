import type { NodeId, TxId } from "@quorate/core";

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

/**
 * 32-bit FNV-1a with a final mix. Not cryptographic: whoever picks ids that fall to one
 * owner makes that owner busy, and the others take over by rank.
 */
function weight(txId: TxId, node: NodeId): number {
  let h = 0x811c9dc5;
  const text = `${txId}\0${node}`;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
