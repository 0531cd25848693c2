import type { Epoch, NodeId, PeerId, TrusteeSet } from "@quorate/core";
import type { Presence } from "@quorate/ports";

/** A live node that has no say at present: not admitted yet, or removed. */
export interface Observer {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly addresses: readonly string[];
  readonly version: string;
  readonly startedAtMs: number;
  /** It was a trustee, and transactions of its epoch are still open: it must run on. */
  readonly draining: boolean;
}

/** What a node knows of the trustees of all epochs. */
export interface Membership {
  readonly set: TrusteeSet;
  readonly sets: ReadonlyMap<Epoch, TrusteeSet>;
  /** Epochs of transactions that are not over. */
  readonly openEpochs: ReadonlySet<Epoch>;
}

/**
 * Live nodes that are not trustees, by name. Being on the network gives no vote: this is how an operator sees
 * whom to admit, and who may be stopped.
 * @see spec §16.1
 */
export function observersOf(
  presence: Iterable<Presence>,
  membership: Membership,
): readonly Observer[] {
  return [...presence]
    .filter(({ peerId }) => !membership.set.byPeerId.has(peerId))
    .map(({ nodeId, peerId, addresses, version, startedAtMs }) => ({
      nodeId,
      peerId,
      addresses,
      version,
      startedAtMs,
      draining: isDraining(peerId, membership),
    }))
    .sort((a, b) => (a.nodeId < b.nodeId ? -1 : a.nodeId > b.nodeId ? 1 : 0));
}

/** Whether transactions are open in which a peer that is no trustee now still has a say. */
function isDraining(peerId: PeerId, { sets, openEpochs }: Membership): boolean {
  return [...openEpochs].some((epoch) => sets.get(epoch)?.byPeerId.has(peerId) === true);
}

/** Where a node stands in the set in force, and what its operator should do when it has no say. */
export function describeMembership(nodeId: NodeId, self: PeerId, membership: Membership): string {
  const { set, sets } = membership;
  const { epoch } = set;
  const member = set.byPeerId.get(self);
  if (member?.nodeId === nodeId) return `trustee ${nodeId} of epoch ${epoch}`;
  if (member !== undefined)
    return `this node's key (${self}) is that of trustee ${member.nodeId} in epoch ${epoch}, not of ${nodeId}: set nodeId to ${member.nodeId}, or give this node its own key`;
  const outside = `this node's key (${self}) is not in the trustee set of epoch ${epoch}`;
  if (isDraining(self, membership))
    return `${outside}, but transactions of an epoch in which it was are still open: let it run until they are over`;
  if ([...sets.values()].some((s) => s.epoch < epoch && s.byPeerId.has(self)))
    return `${outside} any more, and nothing that it had a say in is open: it may be stopped`;
  return `${outside}; to admit it: quorate trustee add ${nodeId} --peer-id ${self} --evm-address ADDRESS`;
}
