import { isoTime, type NodeId, type PeerId, type TrusteeSet, type TxId } from "@quorate/core";
import type { TallyView, TrusteeNode } from "@quorate/engine";
import type { ChangeSet } from "@quorate/ports";
import type { EventFeed } from "@quorate/telemetry";
import { knownIn, transactionJson } from "./views.ts";

export interface EventContext {
  readonly node: Pick<TrusteeNode, "view" | "set" | "subscribe">;
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly version: string;
}

/** What a listener is told first: everything up to this revision is in what `GET` answers. */
export function helloOf({ node, clusterId, nodeId, version }: EventContext): object {
  const { epoch } = node.set;
  const revision = node.view.revision.toString();
  return { type: "hello", revision, clusterId, nodeId, version, epoch };
}

/** Tells the feed of each revision as soon as it is committed and folded in. @returns ends it */
export function feedEvents({ node }: EventContext, feed: EventFeed): () => void {
  return node.subscribe((set, touched) => {
    if (!feed.listening) return;
    const events = eventsOf(set, touched, node);
    if (events.length > 0)
      feed.publish({ type: "revision", revision: set.revision.toString(), events });
  });
}

/** What a revision changed, each thing as it is now, in the words of the HTTP API. */
export function eventsOf(
  set: ChangeSet,
  touched: ReadonlySet<TxId>,
  { view, set: trustees }: { readonly view: TallyView; readonly set: TrusteeSet },
): readonly object[] {
  const events: object[] = [];
  for (const txId of touched) {
    const snapshot = knownIn(view, txId);
    // In part only: who wants the rest asks for it.
    const transaction =
      snapshot === null ? { txId, status: view.status(txId) } : transactionJson(snapshot);
    events.push({ type: "transaction", transaction });
  }
  for (const change of set.changes) {
    if (change.kind === "ban") events.push(banEvent(change.peerId, change.ban));
    else if (change.kind === "presence")
      events.push({ type: "presence", peerId: change.peerId, online: change.presence !== null });
    else if (change.kind === "violation") {
      const { txId, peerId, nodeId, type, grade, detectedAtMs } = change.violation;
      const detectedAt = isoTime(detectedAtMs);
      events.push({ type: "violation", txId, peerId, nodeId, violation: type, grade, detectedAt });
    } else if (change.kind === "config") {
      const { epoch, threshold, trustees: all } = trustees;
      events.push({ type: "epoch", epoch, threshold, totalNodes: all.length });
    }
  }
  return events;
}

type Ban = Extract<ChangeSet["changes"][number], { kind: "ban" }>["ban"];

function banEvent(peerId: PeerId, ban: Ban): object {
  if (ban === null) return { type: "unban", peerId };
  const { nodeId, reason, grade, bannedAtMs } = ban;
  return { type: "ban", peerId, nodeId, reason, grade, bannedAt: isoTime(bannedAtMs) };
}
