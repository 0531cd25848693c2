import type { NodeId, PeerId } from "@quorate/core";

import { nodeIdOrNull, peerIdOf, type Row, timeMsOf } from "../row.ts";

/** A peer that a new row is about, and when that was. */
export interface Noticed {
  readonly peerId: PeerId;
  readonly nodeId: NodeId | null;
  readonly noticedAtMs: number;
}

export function noticedOf(row: Row): Noticed {
  return {
    peerId: peerIdOf(row, "peer_id"),
    nodeId: nodeIdOrNull(row, "node_id"),
    noticedAtMs: timeMsOf(row, "noticed_at"),
  };
}
