import { assert } from "@quorate/core";
import type {
  ICompare,
  IKeyValue,
  IRangeResponse,
  IRequestOp,
  IResponseOp,
  ITxnRequest,
  ITxnResponse,
} from "etcd3";

/** Keys are ASCII by the grammars of the ids. */
export const keyBytes = (key: string): Buffer => Buffer.from(key, "latin1");

/** End of the range of all keys that begin with `prefix`, which ends with "/" : "0" is the next character. */
export function rangeEnd(prefix: string): Buffer {
  assert(prefix.endsWith("/"), "ranges are over whole parts of the key space");
  return keyBytes(`${prefix.slice(0, -1)}0`);
}

export const put = (key: string, value: string, lease?: string): IRequestOp => ({
  request_put:
    lease === undefined
      ? { key: keyBytes(key), value: Buffer.from(value) }
      : { key: keyBytes(key), value: Buffer.from(value), lease },
});

export const remove = (key: string): IRequestOp => ({
  request_delete_range: { key: keyBytes(key) },
});

export const removeRange = (prefix: string): IRequestOp => ({
  request_delete_range: { key: keyBytes(prefix), range_end: rangeEnd(prefix) },
});

export const get = (key: string): IRequestOp => ({ request_range: { key: keyBytes(key) } });

export const getRange = (prefix: string): IRequestOp => ({
  request_range: { key: keyBytes(prefix), range_end: rangeEnd(prefix) },
});

export const nested = (request: ITxnRequest): IRequestOp => ({ request_txn: request });

export const absent = (key: string): ICompare => ({
  key: keyBytes(key),
  target: "Create",
  result: "Equal",
  create_revision: 0,
});

/** @param revision 0 for "does not exist". */
export const unchanged = (key: string, revision: bigint): ICompare => ({
  key: keyBytes(key),
  target: "Mod",
  result: "Equal",
  mod_revision: revision.toString(),
});

/** That no key that begins with `prefix` was written after `revision`; holds when there is none. */
export const unchangedSince = (prefix: string, revision: bigint): ICompare => ({
  key: keyBytes(prefix),
  range_end: rangeEnd(prefix),
  target: "Mod",
  result: "Less",
  mod_revision: (revision + 1n).toString(),
});

/**
 * Operations in nested Txns without guards, which is etcd's way to have more of them:
 * the limit counts a Txn's own operations and those of its longest child.
 */
export function inGroups(operations: readonly IRequestOp[], size: number): IRequestOp[] {
  assert(size >= 1, "there is room for at least one operation a group");
  const groups: IRequestOp[] = [];
  for (let at = 0; at < operations.length; at += size)
    groups.push(nested({ success: operations.slice(at, at + size) }));
  return groups;
}

/** The one key-value of a `get`, or null. */
export function kvOf(response: IResponseOp | undefined): IKeyValue | null {
  return rangeOf(response).kvs[0] ?? null;
}

export function rangeOf(response: IResponseOp | undefined): IRangeResponse {
  const range = response?.response_range ?? null;
  assert(range !== null, "etcd answers a range with a range");
  return range;
}

export function txnOf(response: IResponseOp | undefined): ITxnResponse {
  const txn = response?.response_txn ?? null;
  assert(txn !== null, "etcd answers a nested Txn with its outcome");
  return txn;
}

export const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
