import { assertNever, type Result } from "@quorate/core";
import type { Change } from "@quorate/ports";
import type { IEvent } from "etcd3";
import { type Keys, type ParsedKey, parseKey } from "./keys.ts";
import { textOf } from "./ops.ts";
import { readReceiptsValue } from "./receipts.ts";
import {
  readBan,
  readCount,
  readDecision,
  readLift,
  readPresence,
  readRecord,
  readStatus,
  readViolation,
  readVote,
} from "./values.ts";

/**
 * What one event of etcd means; null for what concerns nobody outside the store
 * (locks, silent runs, keys that were cleaned away). Total: what can't be read is
 * an "unreadable" change.
 */
export function changeOf(keys: Keys, clusterId: string, event: IEvent): Change | null {
  const keyText = textOf(event.kv.key);
  const key = parseKey(keys, keyText);
  if (event.type === "Delete") return deletionOf(key, keyText);
  const text = textOf(event.kv.value);
  const change = <T>(read: Result<T, string>, make: (value: T) => Change): Change =>
    read.ok ? make(read.value) : { kind: "unreadable", key: keyText, problem: read.error };
  switch (key.kind) {
    case "status": {
      const { txId } = key;
      const created = event.kv.version === "1";
      return change(readStatus(text), (status) => ({ kind: "status", txId, status, created }));
    }
    case "record": {
      const { txId } = key;
      return change(readRecord(text), (record) => ({ kind: "record", txId, record }));
    }
    case "decision": {
      const { txId } = key;
      return change(readDecision(text), (decision) => ({ kind: "decision", txId, decision }));
    }
    case "vote": {
      const { txId, nodeId } = key;
      const read = readVote(text, { txId, nodeId, clusterId });
      return change(read, ({ vote, peerId }) => ({ kind: "vote", txId, vote, peerId }));
    }
    case "vote-count": {
      const { txId, value } = key;
      return change(readCount(text), (count) => ({ kind: "count", txId, value, count }));
    }
    case "violation":
      return change(readViolation(text, key), (violation) => ({ kind: "violation", violation }));
    case "ban": {
      const { peerId } = key;
      return change(readBan(text, peerId), (ban) => ({ kind: "ban", peerId, ban }));
    }
    case "lift":
      return change(readLift(text, key), (lift) => ({ kind: "lift", lift }));
    case "receipts":
      return change(readReceiptsValue(text, key), (receipts) => ({ kind: "receipts", receipts }));
    case "presence": {
      const { peerId } = key;
      return change(readPresence(text, peerId), (presence) => ({
        kind: "presence",
        peerId,
        presence,
      }));
    }
    case "config":
      return { kind: "config" };
    case "silence":
    case "lock":
      return null;
    case "unreadable":
      return { kind: "unreadable", key: keyText, problem: key.problem };
    default:
      return assertNever(key);
  }
}

function deletionOf(key: ParsedKey, keyText: string): Change | null {
  switch (key.kind) {
    case "status":
      return { kind: "status", txId: key.txId, status: null, created: false };
    case "ban":
      return { kind: "ban", peerId: key.peerId, ban: null };
    case "presence":
      return { kind: "presence", peerId: key.peerId, presence: null };
    case "config":
      return { kind: "config" };
    case "unreadable":
      return { kind: "unreadable", key: keyText, problem: key.problem };
    case "vote":
      return { kind: "archived", txId: key.txId };
    case "record":
    case "decision":
    case "vote-count":
    case "violation":
    case "lift":
    case "receipts":
    case "silence":
    case "lock":
      return null;
    default:
      return assertNever(key);
  }
}
