import {
  bytesToHex,
  type EvmAddress,
  hash,
  parseEpoch,
  parseEvmAddress,
  parseTxId,
  parseValue,
  type TxId,
  unwrap,
  utf8,
} from "@quorate/core";
import {
  type Hex,
  type NewSubmission,
  type RecordedEvent,
  type RecordItem,
  type Sender,
  type SenderLease,
  type Slot,
  StoreError,
  type Submission,
  type SubmissionStore,
} from "@quorate/ports";
import { expect } from "vitest";

import type { OperatorLogEntry } from "../memory-submission-store-tables.ts";

/** One database, empty at first, as one test sees it. */
export interface SubmissionStoreWorld {
  readonly store: SubmissionStore;
  /** The same database as another process would open it. */
  readonly other: SubmissionStore;
  /** The same, over a network that can lose a reply. */
  readonly lossy: SubmissionStore;
  /** The next call of `lossy` that changes something takes effect, and rejects as retryable. */
  loseNextReply(): void;
  /** Moves a confirmed submission to the archive, as retention does. */
  archive(txId: TxId): Promise<void>;
  /** What operators did, oldest first. */
  operatorLog(): Promise<readonly OperatorLogEntry[]>;
  close(): Promise<void>;
}

export type Sign = Parameters<SubmissionStore["assign"]>[1]["sign"];
export type NewAttempt = Parameters<SubmissionStore["addAttempt"]>[2];
export type Final = Parameters<SubmissionStore["markFinalized"]>[2];

const ADDRESS: EvmAddress = unwrap(parseEvmAddress(`0x${"a1".repeat(20)}`));
export const SENDER: Sender = { chainId: 31337, address: ADDRESS };
export const FEES = { maxFeePerGasWei: 30_000_000_000n, maxPriorityFeePerGasWei: 1_000_000_000n };
export const GAS_LIMIT = 500_000n;
export const WINDOW_MAX = 8;
export const REQUEUES_MAX = 3;

export function hexOf(...words: readonly string[]): Hex {
  return `0x${bytesToHex(hash(...words.map(utf8)))}`;
}

export function txIdOf(name: string): TxId {
  return unwrap(parseTxId(name));
}

export function submission(name: string, value: bigint = 7n): NewSubmission {
  return {
    txId: txIdOf(name),
    key: hexOf("key", name),
    value: unwrap(parseValue(value)),
    epoch: unwrap(parseEpoch(1)),
    decisionRevision: 42n,
  };
}

/** A final record of the contract for it. */
export function eventOf(name: string, value: bigint = 7n, blockNumber: bigint = 5n): RecordedEvent {
  return {
    key: submission(name).key,
    value: unwrap(parseValue(value)),
    blockNumber,
    txHash: hexOf("mined", name),
    logIndex: 0,
  };
}

export function itemOf({ txId, value }: NewSubmission): RecordItem {
  return { txId, value };
}

/** Deterministic, as a signer is: the same nonce and batch give the same bytes. */
export const sign: Sign = async (nonce, items) => {
  const text = `${nonce}:${items.map(({ txId, value }) => `${txId}=${value}`).join(",")}`;
  return { hash: hexOf("signed", text), raw: utf8(text), ...FEES };
};

export function attempt(kind: NewAttempt["kind"], name: string): NewAttempt {
  return { hash: hexOf("attempt", name), raw: utf8(name), kind, ...FEES };
}

export function inclusion(
  mined: Hex,
  block: bigint,
  status: "success" | "reverted" = "success",
): Parameters<SubmissionStore["markIncluded"]>[2] {
  return { hash: mined, blockNumber: block, blockHash: hexOf("block", `${block}`), status };
}

/** Every item of a nonce that ended without recording anything is queued again. */
export function requeued(...names: readonly string[]): Final {
  return {
    state: "FINALIZED_FOREIGN",
    blockNumber: 9n,
    items: names.map((each) => ({ txId: txIdOf(each), outcome: "requeue", txHash: null })),
    requeuesMax: REQUEUES_MAX,
  };
}

export function firstHash(slot: Slot): Hex {
  const [first] = slot.attempts;
  if (first === undefined) throw new Error("a slot has an attempt");
  return first.hash;
}

export async function expectRefused(call: Promise<unknown>): Promise<void> {
  const error: unknown = await call.then(
    () => "resolved",
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StoreError);
  expect(error).toMatchObject({ code: "REFUSED", retryable: false });
}

/** The reply was lost: the caller can't know, and may call again. */
export async function expectLost(call: Promise<unknown>): Promise<void> {
  await expect(call).rejects.toMatchObject({ name: "StoreError", retryable: true });
}

export interface SubmissionSteps {
  /** Becomes the leader of a sender whose history is checked, as it must be before a nonce is taken. */
  lead(floor: bigint): Promise<SenderLease>;
  enqueue(...names: readonly string[]): Promise<readonly RecordItem[]>;
  assign(
    lease: SenderLease,
    items: readonly RecordItem[],
    overrides?: { readonly windowMax?: number; readonly sign?: Sign },
  ): ReturnType<SubmissionStore["assign"]>;
  reserve(
    lease: SenderLease,
    items: readonly RecordItem[],
    overrides?: { readonly windowMax?: number },
  ): ReturnType<SubmissionStore["reserve"]>;
  /** Takes the named ids from new to ASSIGNED under one nonce, signed. */
  assigned(lease: SenderLease, ...names: readonly string[]): Promise<Slot>;
  /** The same without a signature. */
  reserved(lease: SenderLease, ...names: readonly string[]): Promise<Slot>;
  get(name: string): Promise<Submission | null>;
  stateOf(name: string): Promise<string | undefined>;
}

/** Steps on one store that many laws begin with. */
export function submissionSteps(store: SubmissionStore): SubmissionSteps {
  const request = { windowMax: WINDOW_MAX, gasLimit: GAS_LIMIT };
  const steps: SubmissionSteps = {
    lead: async (floor) => {
      const lease = await store.becomeLeader(SENDER, floor);
      await store.markHistoryChecked(lease);
      return lease;
    },
    enqueue: async (...names) => {
      const submissions = names.map((each) => submission(each));
      await store.enqueue(submissions, SENDER);
      return submissions.map(itemOf);
    },
    assign: (lease, items, overrides = {}) =>
      store.assign(lease, { items, ...request, sign, ...overrides }),
    reserve: (lease, items, overrides = {}) =>
      store.reserve(lease, { items, ...request, ...overrides }),
    assigned: async (lease, ...names) => {
      const outcome = await steps.assign(lease, await steps.enqueue(...names));
      if (outcome.kind !== "assigned") throw new Error(`assign said ${outcome.kind}`);
      return outcome.slot;
    },
    reserved: async (lease, ...names) => {
      const outcome = await steps.reserve(lease, await steps.enqueue(...names));
      if (outcome.kind !== "reserved") throw new Error(`reserve said ${outcome.kind}`);
      return outcome.slot;
    },
    get: (name) => store.get(txIdOf(name)),
    stateOf: async (name) => (await store.get(txIdOf(name)))?.state,
  };
  return steps;
}
