import { assertNever } from "@quorate/core";
import type { Change, ChangeSet } from "@quorate/ports";
import { expect } from "vitest";
import { unordered } from "./canonical.ts";
import { TALLY_TXS } from "./tally-commands.ts";
import type { TallyDriver } from "./tally-driver.ts";
import type { TallyModel } from "./tally-model.ts";

/** A watch that began at some revision and is asked later for all that came up to another. */
export class Watching {
  readonly #driver: TallyDriver;
  readonly #after: bigint;
  readonly #sets: ChangeSet[] = [];
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  #wake: () => void = () => {};

  constructor(driver: TallyDriver, after: bigint) {
    this.#driver = driver;
    this.#after = after;
    const onChanges = (set: ChangeSet): void => {
      this.#sets.push(set);
      this.#wake();
    };
    this.#ended = driver.store.watch(after, onChanges, { signal: this.#abort.signal });
    this.#ended.catch(() => this.#wake());
  }

  /** Waits until the watch has come to a revision, and ends it. */
  async upTo(revision: bigint): Promise<readonly ChangeSet[]> {
    const newest = (): bigint => this.#sets.at(-1)?.revision ?? this.#after;
    while (newest() < revision) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, this.#ended]);
    }
    await this.stop();
    const ordered = this.#sets.every(
      (set, at) => set.revision > (this.#sets[at - 1]?.revision ?? this.#after),
    );
    expect(ordered, `${this.#driver.name} gives each revision once, in order`).toBe(true);
    return this.#sets;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }
}

/**
 * What was seen in words that two stores can agree on: step by step, and revision by revision within it. The Txns of one
 * call may come in either order, and a revision's changes have none; "archived" may be said more than once.
 */
export function seenSteps(
  driver: TallyDriver,
  sets: readonly ChangeSet[],
): readonly { readonly step: number; readonly revisions: readonly unknown[] }[] {
  const steps = new Map<number, unknown[]>();
  for (const { revision, changes } of sets) {
    const words = unordered(changes).map((change) => JSON.stringify(change));
    if (words.length === 0) continue;
    const step = driver.stepOf(revision);
    steps.set(step, [...(steps.get(step) ?? []), [...new Set(words)]]);
  }
  return [...steps].map(([step, revisions]) => ({ step, revisions: unordered(revisions) }));
}

/** What the changes alone add up to is what is read: counters, too, which nobody reads otherwise (I7). */
export function expectFold(
  driver: TallyDriver,
  model: TallyModel,
  sets: readonly ChangeSet[],
): void {
  const folded = foldOf(sets.flatMap(({ changes }) => changes));
  const expected = {
    txs: TALLY_TXS.map((tx) => {
      const { status, decision } = model.snapshot(tx);
      const votes = [...(model.txs.get(tx)?.votes.values() ?? [])];
      const counts = [7, 8].map((value) => votes.filter((each) => each === value).length);
      return { tx, status, decision, votes: votes.length, counts };
    }),
    bans: model.bans.size,
    lifts: model.lifts.size,
    violations: model.violations.size,
  };
  expect(folded, `the sum of what ${driver.name} showed`).toEqual(expected);
}

interface Folded {
  status: string | null;
  decision: string | null;
  readonly voters: Set<string>;
  readonly counts: Map<number, number>;
}

function foldOf(changes: readonly Change[]): unknown {
  const txs = new Map<string, Folded>(
    TALLY_TXS.map((tx) => [
      tx,
      { status: null, decision: null, voters: new Set<string>(), counts: new Map() },
    ]),
  );
  const bans = new Set<string>();
  const lifts = new Set<string>();
  const violations = new Set<string>();
  const of = (txId: string): Folded => {
    const tx = txs.get(txId);
    if (tx === undefined) throw new Error(`no command names ${txId}`);
    return tx;
  };
  for (const change of changes)
    switch (change.kind) {
      case "status":
        of(change.txId).status = change.status;
        break;
      case "vote":
        of(change.txId).voters.add(change.vote.vote.nodeId);
        break;
      case "count":
        of(change.txId).counts.set(Number(change.value), change.count);
        break;
      case "decision":
        of(change.txId).decision = change.decision.kind;
        break;
      case "archived":
        of(change.txId).voters.clear();
        of(change.txId).counts.clear();
        break;
      case "violation": {
        const { txId, peerId, type } = change.violation;
        violations.add(`${txId}/${peerId}/${type}`);
        break;
      }
      case "ban":
        if (change.ban === null) bans.delete(change.peerId);
        else bans.add(change.peerId);
        break;
      case "lift":
        lifts.add(`${change.lift.peerId}/${change.lift.liftedAtMs}`);
        break;
      case "record":
      case "receipts":
      case "presence":
      case "config":
        break;
      case "unreadable":
        throw new Error(`${change.key} is unreadable: ${change.problem}`);
      default:
        assertNever(change);
    }
  return {
    txs: [...txs].map(([tx, { status, decision, voters, counts }]) => ({
      tx,
      status,
      decision,
      votes: voters.size,
      counts: [7, 8].map((value) => counts.get(value) ?? 0),
    })),
    bans: bans.size,
    lifts: lifts.size,
    violations: violations.size,
  };
}
