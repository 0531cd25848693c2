import { type EvidenceGrade, TX_STATUSES, type TxStatus, type ViolationType } from "@quorate/core";
import fc from "fast-check";

/** Small on purpose: few transactions, trustees and values meet often. */
export const TALLY_TXS = ["tx-a", "tx-b", "tx-c"] as const;
export const TALLY_TRUSTEES = 4;

const COMMANDS_MAX = 24;

export type TallyTx = (typeof TALLY_TXS)[number];

/** Versions and revisions are given by how many steps ago they were read: 0 is what stands now. */
export interface CommitEntry {
  readonly tx: TallyTx;
  readonly age: number;
  readonly votes: readonly { readonly node: number; readonly value: 7 | 8 }[];
  readonly status: TxStatus;
  readonly withRecord: boolean;
  readonly decision: "SUBMIT" | "ABORT" | null;
  readonly violations: readonly { readonly node: number; readonly type: ViolationType }[];
  readonly bans: readonly { readonly node: number; readonly grade: EvidenceGrade }[];
  /** `off`: the run's length that the commit believes in is not the one stored. */
  readonly streaks: readonly { readonly node: number; readonly off: boolean }[];
}

export type TallyCommand =
  | { readonly kind: "commit"; readonly entries: readonly CommitEntry[]; readonly epochAge: number }
  | {
      readonly kind: "violation";
      readonly tx: TallyTx;
      readonly node: number;
      readonly type: ViolationType;
      readonly grade: EvidenceGrade;
      readonly named: boolean;
    }
  | { readonly kind: "ban"; readonly node: number; readonly grade: EvidenceGrade }
  | {
      readonly kind: "lift" | "strike";
      readonly node: number;
      /** Which moment it bears, and whose it is: two of one moment must not hide each other. */
      readonly moment: number;
      readonly by: "ann" | "bob";
      readonly named: boolean;
      readonly age: number;
    }
  | {
      readonly kind: "receipts";
      readonly node: number;
      readonly again: boolean;
      readonly count: number;
    }
  | {
      readonly kind: "trustees";
      readonly members: readonly number[];
      readonly age: number;
      readonly what: "next" | "too-far" | "in-force";
    }
  | {
      readonly kind: "purge";
      readonly requests: readonly {
        readonly tx: TallyTx;
        readonly level: "votes" | "all";
        readonly age: number;
      }[];
    };

const tx = fc.constantFrom(...TALLY_TXS);
const node = fc.nat(TALLY_TRUSTEES - 1);
const grade = fc.constantFrom<EvidenceGrade>("PROOF", "OPINION");
const type = fc.constantFrom<ViolationType>("DOUBLE_VOTING", "SILENT_FAILURE");
/** Mostly now, for most of what is stale only fails. */
const age = fc.constantFrom(0, 0, 0, 0, 1, 3);
const perNode = <T extends { readonly node: number }>(
  item: fc.Arbitrary<T>,
  maxLength: number,
): fc.Arbitrary<T[]> => fc.uniqueArray(item, { selector: (each) => each.node, maxLength });

const entry: fc.Arbitrary<CommitEntry> = fc.record({
  tx,
  age,
  votes: perNode(fc.record({ node, value: fc.constantFrom<7 | 8>(7, 8) }), 3),
  status: fc.constantFrom(...TX_STATUSES),
  withRecord: fc.constantFrom(true, true, true, false),
  decision: fc.constantFrom<CommitEntry["decision"]>(null, null, null, "SUBMIT", "ABORT"),
  violations: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: perNode(fc.record({ node, type }), 2) },
  ),
  bans: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: perNode(fc.record({ node, grade }), 2) },
  ),
  streaks: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: perNode(fc.record({ node, off: fc.constantFrom(false, false, true) }), 2),
    },
  ),
});

/**
 * A commit that bans or counts silence goes in a Txn of its own beside the others of its call, in either order: so no
 * other one of the call may depend on it, or the outcome is open.
 */
function withoutRaces(
  command: Extract<TallyCommand, { kind: "commit" }>,
): Extract<TallyCommand, { kind: "commit" }> {
  const alone = command.entries.find(({ bans, streaks }) => bans.length + streaks.length > 0);
  const voters = command.entries.filter((each) => each !== alone).flatMap(({ votes }) => votes);
  const others = new Set(voters.map(({ node: voter }) => voter));
  const entries = command.entries.map((each) =>
    each === alone
      ? { ...each, bans: each.bans.filter(({ node: banned }) => !others.has(banned)) }
      : { ...each, bans: [], streaks: [] },
  );
  return { ...command, entries };
}

const command: fc.Arbitrary<TallyCommand> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .record({
        kind: fc.constant("commit" as const),
        entries: fc.uniqueArray(entry, {
          selector: (each) => each.tx,
          minLength: 1,
          maxLength: TALLY_TXS.length,
        }),
        epochAge: fc.constantFrom(0, 0, 0, 0, 0, 2),
      })
      .map(withoutRaces),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("violation" as const),
      tx,
      node,
      type,
      grade,
      named: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("ban" as const), node, grade }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("lift" as const, "strike" as const),
      node,
      moment: fc.nat(1),
      by: fc.constantFrom("ann" as const, "bob" as const),
      named: fc.boolean(),
      age,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("receipts" as const),
      node,
      again: fc.boolean(),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("trustees" as const),
      members: fc.uniqueArray(node, { minLength: 1, maxLength: TALLY_TRUSTEES }),
      age,
      what: fc.constantFrom("next" as const, "next" as const, "too-far" as const, "in-force"),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("purge" as const),
      requests: fc.uniqueArray(
        fc.record({ tx, level: fc.constantFrom("votes" as const, "all" as const), age }),
        { selector: (each) => each.tx, minLength: 1, maxLength: TALLY_TXS.length },
      ),
    }),
  },
);

/** After which steps somebody begins to watch. */
export const lateSteps: fc.Arbitrary<readonly number[]> = fc.array(fc.nat(COMMANDS_MAX), {
  maxLength: 2,
});

export const tallyCommands: fc.Arbitrary<readonly TallyCommand[]> = fc.array(command, {
  minLength: 1,
  maxLength: COMMANDS_MAX,
  size: "max",
});
