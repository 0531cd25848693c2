import {
  bytesToHex,
  type EvmAddress,
  hash,
  parseEpoch,
  parseEvmAddress,
  type TxId,
  unwrap,
  utf8,
} from "@quorate/core";
import {
  type EnqueueOutcome,
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
import { type OperatorLogEntry, txIdOf, valueOf } from "@quorate/testkit";
import { canonical } from "./canonical.ts";
import {
  isLed,
  type LedCommand,
  SENDERS,
  type SenderName,
  SUBMISSION_TXS,
  type SubmissionCommand,
  type SubmissionTx,
} from "./submission-commands.ts";
import {
  attemptName,
  minedHash,
  REQUEUES_MAX,
  type SubmissionModel,
  signedName,
} from "./submission-model.ts";

/** One database, and what is done to it beside the port. */
export interface SubmissionWorld {
  readonly name: string;
  readonly store: SubmissionStore;
  archive(txId: TxId): Promise<void>;
  operatorLog(): Promise<readonly OperatorLogEntry[]>;
}

const FEES = { maxFeePerGasWei: 30_000_000_000n, maxPriorityFeePerGasWei: 1_000_000_000n };
const GAS_LIMIT = 500_000n;
const PAGE = 2;
const ALL = 100;
const EPOCH = unwrap(parseEpoch(1));
const ADDRESSES: Readonly<Record<SenderName, EvmAddress>> = {
  ann: unwrap(parseEvmAddress(`0x${"a1".repeat(20)}`)),
  bob: unwrap(parseEvmAddress(`0x${"b2".repeat(20)}`)),
};

// What a hash was made of: stores are compared, and failures read, in names.
const names = new Map<Hex, string>();

function hexOf(name: string): Hex {
  const hex: Hex = `0x${bytesToHex(hash(utf8(name)))}`;
  names.set(hex, name);
  return hex;
}

const nameOf = (hex: Hex): string => names.get(hex) ?? hex;
const senderOf = (name: SenderName): Sender => ({ chainId: 31_337, address: ADDRESSES[name] });
const keyOf = (tx: SubmissionTx): Hex => hexOf(tx);

/** Carries the commands out on one store, and tells what it answers and holds in the model's words. */
export class SubmissionDriver {
  readonly world: SubmissionWorld;

  constructor(world: SubmissionWorld) {
    this.world = world;
  }

  /** @param model as it is before the command is applied to it */
  async perform(command: SubmissionCommand, model: SubmissionModel): Promise<unknown> {
    try {
      return await this.#call(command, model);
    } catch (error) {
      if (error instanceof StoreError && error.code === "REFUSED") return "REFUSED";
      throw error;
    }
  }

  async #call(command: SubmissionCommand, model: SubmissionModel): Promise<unknown> {
    if (isLed(command)) return await this.#led(command, model);
    const { store } = this.world;
    switch (command.kind) {
      case "lead":
        return Number(
          (await store.becomeLeader(senderOf(command.sender), BigInt(command.floor))).leaderEpoch,
        );
      case "enqueue": {
        const outcomes = await store.enqueue(command.items.map(newSubmission), senderOf("ann"));
        return outcomes.map(wordsOf);
      }
      case "release":
        return await store.release(txIdOf(command.tx), "a person", "looked at it");
      case "archive":
        if ((await store.get(txIdOf(command.tx)))?.confirmedAtMs === null) return "not-confirmed";
        return await this.#archive(command.tx, model);
      case "freeze":
        return await store.freeze(senderOf(command.sender), command.reason);
      case "thaw": {
        const { sender, onlyIf } = command;
        return await store.thaw(senderOf(sender), "a person", onlyIf === null ? {} : { onlyIf });
      }
      case "confirm":
        await store.markConfirmed(command.txs.map(txIdOf));
        return "done";
      case "sent": {
        const slot = model.slotAt(command.sender, model.nonceOf(command));
        await store.noteSent(hexOf(pickHash(slot, command.attempt)), "accepted");
        return "done";
      }
      default:
        return command satisfies never;
    }
  }

  async #led(command: LedCommand, model: SubmissionModel): Promise<unknown> {
    const { store } = this.world;
    const leaderEpoch = BigInt(model.leaseOf(command));
    const lease: SenderLease = { ...senderOf(command.sender), leaderEpoch };
    const nonceOf = (each: { readonly sender: SenderName; readonly pick: number }): bigint =>
      BigInt(model.nonceOf(each));
    switch (command.kind) {
      case "checked":
        return await store.markHistoryChecked(lease);
      case "floor":
        return await store.raiseFloor(lease, BigInt(command.floor));
      case "assign": {
        const items = command.items.map(recordItem);
        const { windowMax } = command;
        const outcome = await store.assign(lease, {
          items,
          windowMax,
          gasLimit: GAS_LIMIT,
          sign: async (nonce, claimed) => {
            const ids = claimed.map(({ txId }) => txId);
            return signed(signedName(command.sender, Number(nonce), ids));
          },
        });
        return outcome.kind === "assigned"
          ? { kind: outcome.kind, slot: slotView(outcome.slot) }
          : outcome.kind;
      }
      case "reserve": {
        const items = command.items.map(recordItem);
        const { windowMax } = command;
        const outcome = await store.reserve(lease, { items, windowMax, gasLimit: GAS_LIMIT });
        return outcome.kind === "reserved"
          ? { kind: outcome.kind, slot: slotView(outcome.slot) }
          : outcome.kind;
      }
      case "attempt": {
        const attempt = { ...signed(attemptName(command.sender, command.name)), kind: command.as };
        return await store.addAttempt(lease, nonceOf(command), attempt);
      }
      case "included": {
        const slot = model.slotAt(command.sender, model.nonceOf(command));
        return await store.markIncluded(lease, nonceOf(command), {
          hash: hexOf(pickHash(slot, command.attempt)),
          blockNumber: BigInt(command.block),
          blockHash: hexOf(`block ${command.block}`),
          status: command.success ? "success" : "reverted",
        });
      }
      case "reorged":
        return await store.markReorged(lease, nonceOf(command), "another block");
      case "finalized": {
        const slot = model.slotAt(command.sender, model.nonceOf(command));
        const items = model.finalItems(slot, command).map(({ tx, outcome }) => ({
          txId: txIdOf(tx),
          outcome,
          txHash: outcome === "finalized" ? hexOf(`mined ${tx}`) : null,
        }));
        return await store.markFinalized(lease, nonceOf(command), {
          state: command.state,
          blockNumber: command.state === "FINALIZED_FOREIGN" ? null : 9n,
          items,
          requeuesMax: REQUEUES_MAX,
        });
      }
      case "already":
        return await store.markAlreadyRecorded(lease, txIdOf(command.tx), 8n);
      case "quarantine":
        return await store.quarantine(lease, txIdOf(command.tx), "by order");
      case "abort": {
        const outcome = await store.abortQueued(lease, command.txs.map(txIdOf), "etcd says ABORT");
        return outcome.kind === "fenced" ? outcome.kind : outcome;
      }
      case "import": {
        const records = command.records.map(eventOf);
        const outcome = await store.importRecords(lease, records, BigInt(command.through));
        if (outcome.kind === "fenced") return outcome.kind;
        return { ...outcome, unknownKeys: outcome.unknownKeys.map(nameOf) };
      }
      default:
        return command satisfies never;
    }
  }

  async #archive(tx: SubmissionTx, model: SubmissionModel): Promise<string> {
    const row = model.submissions.get(tx);
    if (row === undefined || row.archived) return "not-confirmed";
    await this.world.archive(txIdOf(tx));
    return "done";
  }

  /** What the model can tell, too. */
  async state(): Promise<unknown> {
    const { store } = this.world;
    const [senders, submissions, queue, listed, unconfirmed, counts] = await Promise.all([
      Promise.all(SENDERS.map((name) => this.#sender(name))),
      Promise.all(SUBMISSION_TXS.map((tx) => store.get(txIdOf(tx)))),
      store.peekQueued(senderOf("ann"), ALL),
      this.#listed(),
      store.unconfirmed(ALL),
      store.counts(),
    ]);
    return {
      senders,
      submissions: submissions.map(submissionView),
      queue: queue.map(({ txId }) => txId),
      listed,
      unconfirmed: unconfirmed.map(({ txId }) => txId).sort(),
      counts,
    };
  }

  /** All else that two stores must agree on: everything a person reads, times only as far as there are any. */
  async details(): Promise<unknown> {
    const { store } = this.world;
    const details = await Promise.all(SUBMISSION_TXS.map((tx) => store.detail(txIdOf(tx))));
    const live = await Promise.all(SENDERS.map((name) => store.liveSlots(senderOf(name))));
    const log = await this.world.operatorLog();
    const unconfirmed = await store.unconfirmed(ALL);
    return withoutTimes(
      canonical({ details, live, log, unconfirmed: unconfirmed.map(({ txId }) => txId) }),
    );
  }

  async #sender(name: SenderName): Promise<unknown> {
    const { store } = this.world;
    const [state, live, gaps, stranded] = await Promise.all([
      store.senderState(senderOf(name)),
      store.liveSlots(senderOf(name)),
      store.gaps(senderOf(name), 0n, ALL),
      store.strandedSlots(senderOf(name)),
    ]);
    return {
      state:
        state === null
          ? null
          : {
              epoch: Number(state.leaderEpoch),
              next: Number(state.nextNonce),
              frozen: state.frozen?.reason ?? null,
              checked: state.historyChecked,
              differs: state.historyDiffers,
              imported:
                state.importedThroughBlock === null ? null : Number(state.importedThroughBlock),
            },
      live: live.map(slotView),
      gaps: gaps.map(Number),
      stranded,
    };
  }

  async #listed(): Promise<readonly string[]> {
    const listed: string[] = [];
    let after: string | null = null;
    do {
      const page = await this.world.store.list({ after, limit: PAGE });
      listed.push(...page.submissions.map(({ txId }) => txId));
      after = page.next;
    } while (after !== null);
    return listed;
  }
}

type Item = { readonly tx: SubmissionTx; readonly value: 7 | 8 };

function newSubmission({ tx, value }: Item): NewSubmission {
  return {
    txId: txIdOf(tx),
    key: keyOf(tx),
    value: valueOf(value),
    epoch: EPOCH,
    decisionRevision: 42n,
  };
}

function recordItem({ tx, value }: Item): RecordItem {
  return { txId: txIdOf(tx), value: valueOf(value) };
}

function eventOf({ tx, value }: Item): RecordedEvent {
  return {
    key: keyOf(tx),
    value: valueOf(value),
    blockNumber: 5n,
    txHash: hexOf(`mined ${tx}`),
    logIndex: 0,
  };
}

function signed(name: string): { readonly hash: Hex; readonly raw: Uint8Array } & typeof FEES {
  return { hash: hexOf(name), raw: utf8(name), ...FEES };
}

const pickHash = (slot: Parameters<typeof minedHash>[0] | null, pick: number): string =>
  (slot === null ? null : minedHash(slot, pick)) ?? "a stranger's transaction";

function wordsOf(outcome: EnqueueOutcome): string {
  switch (outcome.kind) {
    case "queued":
    case "recorded":
      return outcome.kind;
    case "exists":
      return `exists ${outcome.state}`;
    case "archived":
    case "conflict":
      return `${outcome.kind} ${outcome.storedValue}`;
    default:
      return outcome satisfies never;
  }
}

function slotView({ nonce, state, items, attempts, included }: Slot): unknown {
  return {
    nonce: Number(nonce),
    state,
    items: items.map(({ txId }) => txId),
    attempts: attempts.map((attempt) => ({ hash: nameOf(attempt.hash), kind: attempt.kind })),
    mined: included === null ? null : nameOf(included.hash),
  };
}

function submissionView(row: Submission | null): unknown {
  if (row === null) return null;
  const { value, state, nonce, tries, confirmedAtMs, archivedAtMs } = row;
  return {
    value: Number(value),
    state,
    nonce: nonce === null ? null : Number(nonce),
    tries,
    confirmed: confirmedAtMs !== null,
    archived: archivedAtMs !== null,
  };
}

function withoutTimes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutTimes);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      key.endsWith("Ms") ? inner !== null : withoutTimes(inner),
    ]),
  );
}
