import type { AttemptKind, SlotState, SubmissionState } from "@quorate/core";
import {
  FREEZE_REASONS,
  isLed,
  type LedCommand,
  SENDERS,
  type SenderName,
  SUBMISSION_TXS,
  type SubmissionCommand,
  type SubmissionTx,
} from "./submission-commands.ts";

/** An item is queued again so often; the next time it is put aside. */
export const REQUEUES_MAX = 1;

interface ModelSender {
  epoch: number;
  next: number;
  frozen: string | null;
  checked: boolean;
  differs: boolean;
  imported: number | null;
}

export interface ModelSlot {
  readonly sender: SenderName;
  readonly nonce: number;
  readonly items: readonly SubmissionTx[];
  readonly attempts: { readonly hash: string; readonly kind: AttemptKind }[];
  state: SlotState;
  mined: string | null;
}

interface ModelSubmission {
  readonly value: 7 | 8;
  state: SubmissionState;
  slot: ModelSlot | null;
  tries: number;
  confirmed: boolean;
  archived: boolean;
}

type Of<K extends SubmissionCommand["kind"]> = Extract<SubmissionCommand, { readonly kind: K }>;

const REFUSED = "REFUSED";
const isOpen = (state: SubmissionState): boolean =>
  state === "QUEUED" || state === "ASSIGNED" || state === "INCLUDED";
const isLive = ({ state }: ModelSlot): boolean => !state.startsWith("FINALIZED");

/** The first attempt's name is made of what it signs, so that a wrong batch shows. */
export const signedName = (sender: string, nonce: number, items: readonly string[]): string =>
  `signed ${sender} ${nonce} ${items.join(",")}`;
export const attemptName = (sender: string, name: string): string => `attempt ${sender} ${name}`;

/** What the port promises of the submitter's memory: rows without a database, and no code shared with either store. */
export class SubmissionModel {
  readonly senders = new Map<SenderName, ModelSender>();
  /** In order of arrival; archived ones, too. */
  readonly submissions = new Map<SubmissionTx, ModelSubmission>();
  readonly slots: ModelSlot[] = [];
  /** What the contract was found to hold and no submission explained. */
  readonly records = new Map<SubmissionTx, 7 | 8>();

  /** @returns the leader's number that the command is given under; 0 when nobody ever led. */
  leaseOf({ sender, age }: { readonly sender: SenderName; readonly age: number }): number {
    return Math.max(0, (this.senders.get(sender)?.epoch ?? 0) - age);
  }

  /** The nonce that a command means: mostly one that is alive, else any, a gap, or one that was never taken. */
  nonceOf({ sender, pick }: { readonly sender: SenderName; readonly pick: number }): number {
    const slots = this.#slotsOf(sender);
    const next = this.senders.get(sender)?.next ?? 0;
    const live = slots.filter(isLive);
    const all = [...live, ...live, ...slots].map(({ nonce }) => nonce);
    const choice = [...all, ...this.gapsOf(sender), next];
    return choice[pick % choice.length] ?? next;
  }

  slotAt(sender: SenderName, nonce: number): ModelSlot | null {
    return this.slots.find((slot) => slot.sender === sender && slot.nonce === nonce) ?? null;
  }

  gapsOf(sender: SenderName): readonly number[] {
    const next = this.senders.get(sender)?.next ?? 0;
    return Array.from({ length: next }, (_, nonce) => nonce).filter(
      (nonce) => this.slotAt(sender, nonce) === null,
    );
  }

  /** @returns what the call must answer. */
  apply(command: SubmissionCommand): unknown {
    if (!isLed(command)) return this.#free(command);
    const sender = this.senders.get(command.sender);
    if (sender === undefined || sender.epoch !== this.leaseOf(command)) return "fenced";
    return this.#led(command, sender);
  }

  #led(command: LedCommand, sender: ModelSender): unknown {
    switch (command.kind) {
      case "checked":
        sender.checked = true;
        return "done";
      case "floor":
        sender.next = Math.max(sender.next, command.floor);
        return "done";
      case "assign":
      case "reserve":
        return this.#take(command, sender);
      case "attempt":
        return this.#attempt(command, sender);
      case "included":
        return this.#included(command);
      case "reorged":
        return this.#reorged(command);
      case "finalized":
        return this.#finalized(command);
      case "already":
      case "quarantine": {
        const to = command.kind === "already" ? "FINALIZED" : "QUARANTINED";
        const row = this.#active(command.tx);
        if (row === null) return REFUSED;
        if (row.state === to) return "done";
        if (!isOpen(row.state)) return REFUSED;
        row.state = to;
        return "done";
      }
      case "abort": {
        const aborted = command.txs.filter((tx) => this.#active(tx)?.state === "QUEUED");
        for (const tx of aborted) this.#move(tx, "ABORTED");
        return { kind: "done", aborted };
      }
      case "import":
        return this.#import(command, sender);
      default:
        return command satisfies never;
    }
  }

  #free(command: Exclude<SubmissionCommand, LedCommand>): unknown {
    switch (command.kind) {
      case "lead":
        return this.#lead(command);
      case "enqueue":
        return command.items.map((item) => this.#enqueue(item));
      case "release": {
        const row = this.submissions.get(command.tx);
        if (row === undefined) return "unknown";
        if (row.archived || row.state !== "QUARANTINED") return "not-quarantined";
        if (row.slot !== null && isLive(row.slot)) return "slot-live";
        row.state = "QUEUED";
        row.slot = null;
        return "released";
      }
      case "freeze": {
        const sender = this.senders.get(command.sender);
        if (sender === undefined) return false;
        const [byItself] = FREEZE_REASONS;
        if (command.reason === byItself) sender.checked = false;
        if (sender.frozen === null || sender.frozen === byItself) sender.frozen = command.reason;
        return true;
      }
      case "thaw": {
        const sender = this.senders.get(command.sender);
        if (sender === undefined) return false;
        const { onlyIf } = command;
        if (onlyIf !== null && (sender.differs || onlyIf !== sender.frozen)) return true;
        sender.frozen = null;
        sender.differs = false;
        return true;
      }
      case "confirm":
        for (const tx of command.txs) {
          const row = this.#active(tx);
          if (row?.state === "FINALIZED") row.confirmed = true;
        }
        return "done";
      case "archive": {
        const row = this.#active(command.tx);
        if (row?.confirmed !== true) return "not-confirmed";
        row.archived = true;
        return "done";
      }
      case "sent":
        return "done";
      default:
        return command satisfies never;
    }
  }

  #lead({ sender, floor }: Of<"lead">): unknown {
    const row = this.senders.get(sender) ?? {
      epoch: 0,
      next: floor,
      frozen: null,
      checked: false,
      differs: false,
      imported: null,
    };
    row.epoch += 1;
    row.next = Math.max(row.next, floor);
    this.senders.set(sender, row);
    return row.epoch;
  }

  #enqueue({ tx, value }: Of<"enqueue">["items"][number]): string {
    const row = this.submissions.get(tx);
    if (row === undefined) {
      const record = this.records.get(tx);
      const state =
        record === undefined ? "QUEUED" : record === value ? "FINALIZED" : "QUARANTINED";
      const fresh = { slot: null, tries: 0, confirmed: false, archived: false };
      this.submissions.set(tx, { value, state, ...fresh });
      return record === undefined ? "queued" : record === value ? "recorded" : `conflict ${record}`;
    }
    if (row.archived) return `archived ${row.value}`;
    if (row.value === value) return `exists ${row.state}`;
    if (isOpen(row.state)) row.state = "QUARANTINED";
    return `conflict ${row.value}`;
  }

  #take(command: Of<"assign" | "reserve">, sender: ModelSender): unknown {
    const { sender: name, items, windowMax } = command;
    if (sender.frozen !== null || !sender.checked) return "frozen";
    const unmined = this.#slotsOf(name).filter(({ state }) => /^(RESERVED|SIGNED)$/.test(state));
    if (unmined.length >= windowMax) return "window-full";
    const claimed = items
      .filter(({ tx, value }) => {
        const row = this.#active(tx);
        return row?.state === "QUEUED" && row.value === value;
      })
      .map(({ tx }) => tx);
    if (claimed.length === 0) return "nothing-queued";
    const nonce = sender.next;
    sender.next += 1;
    const isSigned = command.kind === "assign";
    const hash = signedName(name, nonce, claimed);
    const slot: ModelSlot = {
      sender: name,
      nonce,
      items: claimed,
      attempts: isSigned ? [{ hash, kind: "ORIGINAL" }] : [],
      state: isSigned ? "SIGNED" : "RESERVED",
      mined: null,
    };
    this.slots.push(slot);
    for (const tx of claimed) {
      const row = this.#move(tx, "ASSIGNED");
      row.slot = slot;
    }
    return { kind: isSigned ? "assigned" : "reserved", slot: viewOf(slot) };
  }

  #attempt(command: Of<"attempt">, sender: ModelSender): string {
    const { sender: name, as } = command;
    const nonce = this.nonceOf(command);
    const hash = attemptName(name, command.name);
    const owner = this.slots.find(({ attempts }) => attempts.some((each) => each.hash === hash));
    let slot = this.slotAt(name, nonce);
    if (owner !== undefined) return owner === slot ? "done" : REFUSED;
    if (slot === null) {
      if (as !== "GAPFILL" || nonce >= sender.next) return REFUSED;
      slot = { sender: name, nonce, items: [], attempts: [], state: "SIGNED", mined: null };
      this.slots.push(slot);
    } else {
      if (!isLive(slot) || (as === "ORIGINAL") !== (slot.state === "RESERVED")) return REFUSED;
      if (as === "GAPFILL" && slot.items.length > 0) return REFUSED;
      if (slot.state === "RESERVED") slot.state = "SIGNED";
    }
    slot.attempts.push({ hash, kind: as });
    return "done";
  }

  #included(command: Of<"included">): string {
    const slot = this.slotAt(command.sender, this.nonceOf(command));
    const hash = slot === null ? null : minedHash(slot, command.attempt);
    if (slot === null || hash === null) return REFUSED;
    if (!isLive(slot)) return slot.mined === hash ? "done" : REFUSED;
    const mined = slot.attempts.find((each) => each.hash === hash);
    if (mined === undefined) return REFUSED;
    slot.state = "INCLUDED";
    slot.mined = hash;
    const records = command.success && (mined.kind === "ORIGINAL" || mined.kind === "BUMP");
    for (const row of this.#rowsOf(slot)) {
      if (records && row.state === "ASSIGNED") row.state = "INCLUDED";
      else if (!records && row.state === "INCLUDED") row.state = "ASSIGNED";
    }
    return "done";
  }

  #reorged(command: Of<"reorged">): string {
    const slot = this.slotAt(command.sender, this.nonceOf(command));
    if (slot === null || !isLive(slot)) return REFUSED;
    if (slot.state !== "INCLUDED") return "done";
    slot.state = "SIGNED";
    slot.mined = null;
    for (const row of this.#rowsOf(slot)) if (row.state === "INCLUDED") row.state = "ASSIGNED";
    return "done";
  }

  #finalized(command: Of<"finalized">): string {
    const slot = this.slotAt(command.sender, this.nonceOf(command));
    if (slot === null) return REFUSED;
    if (slot.state === command.state) return "done";
    const wasReserved = slot.state === "RESERVED";
    if (!isLive(slot) || (wasReserved && command.state !== "FINALIZED_FOREIGN")) return REFUSED;
    const said = this.finalItems(slot, command);
    if (said.some(({ tx }) => !slot.items.includes(tx))) return REFUSED;
    const moving = slot.items.filter((tx) => {
      const row = this.#active(tx);
      return row?.slot === slot && isOpen(row.state);
    });
    if (moving.some((tx) => !said.some((each) => each.tx === tx))) return REFUSED;
    slot.state = command.state;
    for (const tx of moving) {
      const row = this.#move(tx, "QUARANTINED");
      const outcome = said.find((each) => each.tx === tx)?.outcome;
      if (outcome === "finalized") row.state = "FINALIZED";
      else if (outcome === "requeue" && row.tries < REQUEUES_MAX) {
        row.state = "QUEUED";
        row.slot = null;
        row.tries += 1;
      }
    }
    return "done";
  }

  /** What a command says of the items of a nonce, mistakes included. */
  finalItems(
    slot: ModelSlot | null,
    { outcomes, mistake }: Of<"finalized">,
  ): readonly {
    readonly tx: SubmissionTx;
    readonly outcome: Of<"finalized">["outcomes"][number];
  }[] {
    const all = (slot?.items ?? []).map((tx, at) => ({
      tx,
      outcome: outcomes[at] ?? ("requeue" as const),
    }));
    if (mistake === "forgets") return all.slice(0, -1);
    const stranger = SUBMISSION_TXS.find((tx) => slot?.items.includes(tx) !== true);
    if (mistake === "stranger" && stranger !== undefined)
      return [...all, { tx: stranger, outcome: "requeue" }];
    return all;
  }

  #import({ records, through }: Of<"import">, sender: ModelSender): unknown {
    const report = {
      kind: "done",
      known: 0,
      inFlight: 0,
      settled: new Array<string>(),
      contradicted: new Array<string>(),
      unknownKeys: new Array<string>(),
    };
    const held = new Map(this.records);
    for (const { tx, value } of records) {
      const before = held.get(tx);
      if (before !== undefined && before !== value) return REFUSED;
      const row = this.submissions.get(tx);
      if (before !== undefined) report.known += 1;
      else if (row === undefined) report.unknownKeys.push(tx);
      else if (row.value !== value || row.state === "ABORTED") report.contradicted.push(tx);
      else if (row.state === "QUEUED") report.settled.push(tx);
      else if (row.state === "ASSIGNED" || row.state === "INCLUDED") report.inFlight += 1;
      else report.known += 1;
      const { settled, contradicted, unknownKeys } = report;
      if ([settled, contradicted, unknownKeys].some((each) => each.includes(tx)))
        held.set(tx, value);
    }
    for (const [tx, value] of held) this.records.set(tx, value);
    for (const tx of SUBMISSION_TXS) {
      if (report.settled.includes(tx)) this.#move(tx, "FINALIZED");
      const row = this.#active(tx);
      if (report.contradicted.includes(tx) && row !== null && isOpen(row.state))
        row.state = "QUARANTINED";
    }
    sender.imported = Math.max(sender.imported ?? 0, through);
    const { settled, contradicted, unknownKeys } = report;
    if (settled.length + contradicted.length + unknownKeys.length > 0) sender.differs = true;
    return report;
  }

  #active(tx: SubmissionTx): ModelSubmission | null {
    const row = this.submissions.get(tx);
    return row === undefined || row.archived ? null : row;
  }

  #move(tx: SubmissionTx, to: SubmissionState): ModelSubmission {
    const row = this.submissions.get(tx);
    if (row === undefined) throw new Error(`${tx} was enqueued`);
    row.state = to;
    return row;
  }

  #rowsOf(slot: ModelSlot): readonly ModelSubmission[] {
    return [...this.submissions.values()].filter((row) => row.slot === slot);
  }

  #slotsOf(sender: SenderName): readonly ModelSlot[] {
    return this.slots.filter((slot) => slot.sender === sender).sort((a, b) => a.nonce - b.nonce);
  }

  /** What can be read, but for times and for what a person reads only. */
  state(): unknown {
    const active = [...this.submissions].filter(([, { archived }]) => !archived);
    const counts = {
      QUEUED: 0,
      ASSIGNED: 0,
      INCLUDED: 0,
      FINALIZED: 0,
      ABORTED: 0,
      QUARANTINED: 0,
    };
    for (const [, { state }] of active) counts[state] += 1;
    return {
      senders: SENDERS.map((name) => {
        const row = this.senders.get(name);
        const live = this.#slotsOf(name).filter(isLive);
        const others = this.slots.filter((slot) => slot.sender !== name && isLive(slot));
        return {
          state: row ?? null,
          live: live.map(viewOf),
          gaps: this.gapsOf(name),
          stranded: others.length,
        };
      }),
      submissions: SUBMISSION_TXS.map((tx) => {
        const row = this.submissions.get(tx);
        if (row === undefined) return null;
        const { value, state, slot, tries, confirmed, archived } = row;
        return { value, state, nonce: slot?.nonce ?? null, tries, confirmed, archived };
      }),
      queue: active.filter(([, { state }]) => state === "QUEUED").map(([tx]) => tx),
      listed: active.map(([tx]) => tx),
      unconfirmed: active
        .filter(([, { state, confirmed }]) => state === "FINALIZED" && !confirmed)
        .map(([tx]) => tx)
        .sort(),
      counts,
    };
  }
}

export function viewOf({ nonce, state, items, attempts, mined }: ModelSlot): unknown {
  return { nonce, state, items, attempts, mined: state === "INCLUDED" ? mined : null };
}

/** The attempt that a command means: one of the nonce's own, or one that nobody made. */
export function minedHash({ attempts }: ModelSlot, pick: number): string | null {
  return attempts[pick % Math.max(1, attempts.length)]?.hash ?? null;
}
