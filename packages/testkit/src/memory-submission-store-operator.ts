import { DIFFERS_REASON, isLiveSlot, mayThawItself } from "@quorate/core";
import type { SubmissionStore } from "@quorate/ports";

import { type SubmissionTables, senderKey } from "./memory-submission-store-tables.ts";

/** Leadership, and what a person does. */
export function operatorCalls(
  tables: SubmissionTables,
): Pick<
  SubmissionStore,
  | "becomeLeader"
  | "isLeader"
  | "raiseFloor"
  | "markHistoryChecked"
  | "senderState"
  | "freeze"
  | "thaw"
  | "release"
> {
  return {
    becomeLeader: (sender, nextNonceFloor, options = {}) =>
      tables.run("becomeLeader", options, () => {
        const row = tables.senders.get(senderKey(sender)) ?? {
          epoch: 0n,
          nextNonce: nextNonceFloor,
          frozen: null,
          importedThroughBlock: null,
          historyChecked: false,
          historyDiffers: false,
        };
        row.epoch += 1n;
        if (nextNonceFloor > row.nextNonce) row.nextNonce = nextNonceFloor;
        tables.senders.set(senderKey(sender), row);
        return { chainId: sender.chainId, address: sender.address, leaderEpoch: row.epoch };
      }),

    isLeader: (lease, options = {}) =>
      tables.run("isLeader", options, () => tables.held(lease) !== null),

    raiseFloor: (lease, floor, options = {}) =>
      tables.fenced("raiseFloor", lease, options, (sender) => {
        if (floor > sender.nextNonce) sender.nextNonce = floor;
      }),

    markHistoryChecked: (lease, options = {}) =>
      tables.fenced("markHistoryChecked", lease, options, (sender) => {
        sender.historyChecked = true;
      }),

    senderState: (sender, options = {}) =>
      tables.run("senderState", options, () => {
        const row = tables.senders.get(senderKey(sender));
        if (row === undefined) return null;
        const { chainId, address } = sender;
        const { epoch: leaderEpoch, ...state } = row;
        return { chainId, address, leaderEpoch, ...state };
      }),

    freeze: (sender, reason, options = {}) =>
      tables.run("freeze", options, () => {
        const row = tables.senders.get(senderKey(sender));
        if (row === undefined) return false;
        if (mayThawItself(reason)) row.historyChecked = false;
        // The reason stays, but for one that needs a person in place of one that does not.
        if (row.frozen !== null && !(mayThawItself(row.frozen.reason) && !mayThawItself(reason))) {
          return true;
        }
        row.frozen = { reason, sinceMs: tables.options.nowMs() };
        tables.log({ action: "FREEZE", subject: senderKey(sender), by: null, reason });
        return true;
      }),

    thaw: (sender, by, options = {}) =>
      tables.run("thaw", options, () => {
        const row = tables.senders.get(senderKey(sender));
        if (row === undefined) return false;
        const { onlyIf } = options;
        // Only a person accepts what differed, and may do so before anybody froze for it.
        if (onlyIf !== undefined && (row.historyDiffers || onlyIf !== row.frozen?.reason))
          return true;
        if (row.frozen === null && !row.historyDiffers) return true;
        const reason = row.frozen?.reason ?? `${DIFFERS_REASON}not frozen for it yet`;
        row.frozen = null;
        row.historyDiffers = false;
        tables.log({ action: "THAW", subject: senderKey(sender), by, reason });
        return true;
      }),

    release: (txId, by, reason, options = {}) =>
      tables.run("release", options, () => {
        const row = tables.submissions.get(txId);
        if (row === undefined) return tables.archive.has(txId) ? "not-quarantined" : "unknown";
        if (row.state !== "QUARANTINED") return "not-quarantined";
        if (row.slot !== null && isLiveSlot(row.slot.state)) return "slot-live";
        tables.requeue(row);
        tables.log({ action: "RELEASE", subject: txId, by, reason });
        return "released";
      }),
  };
}
