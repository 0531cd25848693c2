import type { AttemptKind, SlotState } from "@quorate/core";
import fc from "fast-check";

export const SUBMISSION_TXS = ["tx-a", "tx-b", "tx-c"] as const;
/** Two accounts on one chain share a queue. */
export const SENDERS = ["ann", "bob"] as const;

export type SubmissionTx = (typeof SUBMISSION_TXS)[number];
export type SenderName = (typeof SENDERS)[number];
export type FinalState = Exclude<SlotState, "RESERVED" | "SIGNED" | "INCLUDED">;

interface Item {
  readonly tx: SubmissionTx;
  readonly value: 7 | 8;
}

/** A lease as it was taken so many leaders ago; 0 is the one in force. */
interface ByLeader {
  readonly sender: SenderName;
  readonly age: number;
}

export type SubmissionCommand =
  | { readonly kind: "lead"; readonly sender: SenderName; readonly floor: number }
  | ({ readonly kind: "checked" } & ByLeader)
  | ({ readonly kind: "floor"; readonly floor: number } & ByLeader)
  | { readonly kind: "enqueue"; readonly items: readonly Item[] }
  | ({
      readonly kind: "assign" | "reserve";
      readonly items: readonly Item[];
      readonly windowMax: number;
    } & ByLeader)
  | ({
      readonly kind: "attempt";
      /** Which of the nonces that matter now. */
      readonly pick: number;
      readonly as: AttemptKind;
      readonly name: string;
    } & ByLeader)
  | ({
      readonly kind: "included";
      readonly pick: number;
      readonly attempt: number;
      readonly block: number;
      readonly success: boolean;
    } & ByLeader)
  | ({ readonly kind: "reorged"; readonly pick: number } & ByLeader)
  | ({
      readonly kind: "finalized";
      readonly pick: number;
      readonly state: FinalState;
      /** For the items of the batch, in turn. */
      readonly outcomes: readonly ("finalized" | "requeue" | "quarantine")[];
      /** Says nothing of the last item, or speaks of a stranger. */
      readonly mistake: "none" | "forgets" | "stranger";
    } & ByLeader)
  | ({ readonly kind: "already" | "quarantine"; readonly tx: SubmissionTx } & ByLeader)
  | ({ readonly kind: "abort"; readonly txs: readonly SubmissionTx[] } & ByLeader)
  | { readonly kind: "release" | "archive"; readonly tx: SubmissionTx }
  | { readonly kind: "freeze"; readonly sender: SenderName; readonly reason: string }
  | { readonly kind: "thaw"; readonly sender: SenderName; readonly onlyIf: string | null }
  | ({
      readonly kind: "import";
      readonly records: readonly Item[];
      readonly through: number;
    } & ByLeader)
  | { readonly kind: "confirm"; readonly txs: readonly SubmissionTx[] }
  | ({ readonly kind: "sent"; readonly pick: number; readonly attempt: number } & ByLeader);

/** What only a leader may do. */
export type LedCommand = Exclude<
  Extract<SubmissionCommand, { readonly age: number }>,
  { readonly kind: "sent" }
>;

export function isLed(command: SubmissionCommand): command is LedCommand {
  return "age" in command && command.kind !== "sent";
}

/** The first kind may go on without a person, the second may not. */
export const FREEZE_REASONS = ["restored from a backup", "somebody looks into it"] as const;

const COMMANDS_MAX = 24;

const tx = fc.constantFrom(...SUBMISSION_TXS);
const txs = fc.uniqueArray(tx, { minLength: 1, maxLength: 3 });
const sender = fc.constantFrom<SenderName>("ann", "ann", "ann", "ann", "ann", "bob");
const age = fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const value = fc.constantFrom<7 | 8>(7, 7, 7, 7, 7, 8);
const item: fc.Arbitrary<Item> = fc.record({ tx, value });
const items = fc.uniqueArray(item, { selector: (each) => each.tx, minLength: 1, maxLength: 3 });
const pick = fc.nat(7);
const block = fc.integer({ min: 1, max: 2 });
const of = <K extends string>(...kinds: readonly K[]): fc.Arbitrary<K> => fc.constantFrom(...kinds);

const weighted: readonly (readonly [number, fc.Arbitrary<SubmissionCommand>])[] = [
  [1, fc.record({ kind: of("lead"), sender, floor: fc.nat(6) })],
  [3, fc.record({ kind: of("checked"), sender, age })],
  [1, fc.record({ kind: of("floor"), sender, age, floor: fc.nat(8) })],
  // Also the same id more than once, with either value.
  [5, fc.record({ kind: of("enqueue"), items: fc.array(item, { minLength: 1, maxLength: 3 }) })],
  [
    8,
    fc.record({
      kind: of("assign", "assign", "reserve"),
      sender,
      age,
      items,
      windowMax: fc.constantFrom(1, 8, 8, 8),
    }),
  ],
  [
    4,
    fc.record({
      kind: of("attempt"),
      sender,
      age,
      pick,
      as: of<AttemptKind>("ORIGINAL", "BUMP", "BUMP", "CANCEL", "GAPFILL"),
      name: fc.constantFrom("x", "y", "z", "v", "w"),
    }),
  ],
  [
    6,
    fc.record({
      kind: of("included"),
      sender,
      age,
      pick,
      attempt: fc.nat(2),
      block,
      success: fc.constantFrom(true, true, false),
    }),
  ],
  [2, fc.record({ kind: of("reorged"), sender, age, pick })],
  [
    5,
    fc.record({
      kind: of("finalized"),
      sender,
      age,
      pick,
      state: of<FinalState>(
        "FINALIZED_OK",
        "FINALIZED_REVERTED",
        "FINALIZED_FOREIGN",
        "FINALIZED_CANCEL",
      ),
      outcomes: fc.array(
        of<"finalized" | "requeue" | "quarantine">("finalized", "requeue", "requeue", "quarantine"),
        { minLength: 3, maxLength: 3 },
      ),
      mistake: fc.constantFrom("none" as const, "none", "none", "none", "forgets", "stranger"),
    }),
  ],
  [1, fc.record({ kind: of("already"), sender, age, tx })],
  [2, fc.record({ kind: of("quarantine"), sender, age, tx })],
  [1, fc.record({ kind: of("abort"), sender, age, txs })],
  [4, fc.record({ kind: of("release"), tx })],
  [2, fc.record({ kind: of("archive"), tx })],
  [1, fc.record({ kind: of("freeze"), sender, reason: fc.constantFrom(...FREEZE_REASONS) })],
  [
    2,
    fc.record({
      kind: of("thaw"),
      sender,
      onlyIf: fc.constantFrom(null, null, ...FREEZE_REASONS),
    }),
  ],
  [
    2,
    fc.record({
      kind: of("import"),
      sender,
      age,
      records: fc.array(item, { maxLength: 2 }),
      through: fc.nat(9),
    }),
  ],
  [2, fc.record({ kind: of("confirm"), txs })],
  [1, fc.record({ kind: of("sent"), sender, age, pick, attempt: fc.nat(2) })],
];

/** Most histories begin with somebody who leads, may take nonces and has taken some, for without that little else happens. */
const opening: fc.Arbitrary<readonly SubmissionCommand[]> = fc
  .record({
    empty: fc.constantFrom(false, false, false, false, false, false, true),
    rival: fc.boolean(),
    floor: fc.nat(3),
    takes: fc.array(
      fc.record({
        kind: of("assign", "assign", "reserve"),
        txs: fc.uniqueArray(tx, { minLength: 1, maxLength: 2 }),
      }),
      { maxLength: 2 },
    ),
  })
  .map(({ empty, rival, floor, takes }): readonly SubmissionCommand[] => {
    if (empty) return [];
    const leaders: readonly SenderName[] = rival ? ["ann", "bob"] : ["ann"];
    return [
      ...leaders.flatMap((name): SubmissionCommand[] => [
        { kind: "lead", sender: name, floor },
        { kind: "checked", sender: name, age: 0 },
      ]),
      { kind: "enqueue", items: SUBMISSION_TXS.map((each) => ({ tx: each, value: 7 })) },
      ...takes.map(
        ({ kind, txs: some }): SubmissionCommand => ({
          kind,
          sender: "ann",
          age: 0,
          items: some.map((each) => ({ tx: each, value: 7 })),
          windowMax: 8,
        }),
      ),
    ];
  });

export const submissionCommands: fc.Arbitrary<readonly SubmissionCommand[]> = fc
  .tuple(
    opening,
    fc.array(fc.oneof(...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary }))), {
      minLength: 1,
      maxLength: COMMANDS_MAX,
      size: "max",
    }),
  )
  .map(([first, rest]) => [...first, ...rest]);
