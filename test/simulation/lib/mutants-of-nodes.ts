import type { CommitOutcome, GossipValidator, TallyStore, TxCommit } from "@quorate/ports";
import { readFrame, readLeaf } from "./laws/wire-reader.ts";
import type { Mutant } from "./mutants.ts";
import type { NodePorts } from "./node-seat.ts";
import { replacing } from "./replacing.ts";

type Commit = TallyStore["commit"];

/** A node whose commits go another way. */
function committing(ports: NodePorts, commit: (real: Commit) => Commit): NodePorts {
  const real: Commit = (...args) => ports.store.commit(...args);
  return { ...ports, store: replacing(ports.store, { commit: commit(real) }) };
}

/** A node that commits other writes than it decided. */
function writing(ports: NodePorts, change: (commit: TxCommit) => TxCommit): NodePorts {
  return committing(
    ports,
    (real) =>
      (commits, ...rest) =>
        real(commits.map(change), ...rest),
  );
}

const asCommitted = (commits: readonly TxCommit[]): readonly CommitOutcome[] =>
  commits.map(({ version }) => ({ kind: "committed", revision: version + 1n }));

export const NODE_MUTANTS: readonly Mutant[] = [
  {
    name: "vote-lost-on-conflict",
    wrong: "takes a lost race for a success",
    node: (ports) =>
      committing(ports, (real) => async (commits, ...rest) => {
        const outcomes = await real(commits, ...rest);
        return outcomes.map((outcome) =>
          outcome.kind === "committed"
            ? outcome
            : { kind: "committed", revision: outcome.fresh.revision },
        );
      }),
  },
  {
    name: "unknown-taken-for-success",
    wrong: "does not decide again after a lost reply",
    node: (ports) =>
      committing(ports, (real) => async (commits, ...rest) => {
        try {
          return await real(commits, ...rest);
        } catch {
          return asCommitted(commits);
        }
      }),
  },
  {
    name: "recorded-before-commit",
    wrong: "answers RECORDED while the commit is on its way",
    node: (ports) =>
      committing(ports, (real) => async (commits, ...rest) => {
        real(commits, ...rest).catch(() => {});
        return asCommitted(commits);
      }),
  },
  {
    name: "count-before-vote",
    wrong: "counts votes in one step and stores them in another",
    node: (ports, { world }) =>
      committing(ports, (real) => async (commits, ...rest) => {
        for (const { writes } of commits) {
          const { txId } = writes;
          world.tally.inject(
            [...writes.counts].map(([value, count]) => ({ kind: "count", txId, value, count })),
          );
        }
        return await real(commits, ...rest);
      }),
  },
  {
    name: "dissent-forgotten",
    wrong: "looks for a minority only in votes that come after the threshold",
    node: (ports) =>
      writing(ports, ({ version, writes }) => {
        const isMinority = writes.violations.some(({ type }) => type === "MINORITY_VOTE");
        if (!isMinority || writes.decision?.kind !== "ABORT") return { version, writes };
        const forgotten = { violations: [], bans: [], decision: null };
        return { version, writes: { ...writes, ...forgotten, status: "THRESHOLD_REACHED" } };
      }),
  },
  {
    name: "second-vote-ignored",
    wrong: "takes a trustee's second vote on a transaction for a repetition",
    node: (ports) => {
      const seen = new Set<string>();
      const deaf =
        (validator: GossipValidator): GossipValidator =>
        (message) => {
          const leaves = readFrame(message.data)?.leaves ?? [];
          const keys = leaves.map((leaf) => {
            const vote = readLeaf(leaf);
            return `${vote?.nodeId} ${vote?.txId}`;
          });
          if (keys.length > 0 && keys.every((key) => seen.has(key))) return "ACCEPT";
          for (const key of keys) seen.add(key);
          return validator(message);
        };
      return {
        ...ports,
        gossip: replacing(ports.gossip, {
          setValidator: (validator) => ports.gossip.setValidator(deaf(validator)),
        }),
      };
    },
  },
  {
    name: "bad-signature-unpunished",
    wrong: "drops a message with a bad signature and accuses nobody",
    node: (ports) => ({
      ...ports,
      store: replacing(ports.store, { recordViolation: async () => false }),
    }),
  },
  {
    name: "ban-without-evidence",
    wrong: "records bans with evidence that proves nothing",
    node: (ports) =>
      writing(ports, ({ version, writes }) => ({
        version,
        writes: {
          ...writes,
          bans: writes.bans.map((ban) =>
            ban.evidence.type === "MINORITY_VOTE" || ban.evidence.type === "DOUBLE_VOTING"
              ? {
                  ...ban,
                  evidence: { type: "MINORITY_VOTE", threshold: 0, majority: [] } as never,
                }
              : ban,
          ),
        },
      })),
  },
  {
    name: "signature-unchecked",
    wrong: "believes every signature",
    node: (ports) => ({ ...ports, ed25519: { verify: () => true } }),
  },
  {
    name: "journal-not-consulted",
    wrong: "forgets over a restart what it has signed",
    node: (ports) => ({
      ...ports,
      journal: replacing(ports.journal, { load: async () => ({ entries: [], complete: true }) }),
    }),
  },
  {
    name: "publishes-before-journal",
    wrong: "publishes a vote before it is on its disk",
    node: (ports) => ({
      ...ports,
      journal: replacing(ports.journal, {
        append: async (entries) => {
          ports.journal.append(entries).catch(() => {});
        },
      }),
    }),
  },
  {
    name: "receipts-dropped",
    wrong: "keeps no receipts",
    node: (ports) => ({
      ...ports,
      store: replacing(ports.store, { recordReceipts: async () => {} }),
    }),
  },
  {
    name: "threshold-minus-one",
    wrong: "is content with a vote less than the threshold",
    node: (ports) => ({
      ...ports,
      store: replacing(ports.store, {
        readConfig: async (options) => {
          const config = await ports.store.readConfig(options);
          const lower = <S extends { readonly threshold: number }>(set: S): S => ({
            ...set,
            threshold: set.threshold - 1,
          });
          return {
            ...config,
            set: lower(config.set),
            sets: new Map([...config.sets].map(([epoch, set]) => [epoch, lower(set)])),
          };
        },
      }),
    }),
  },
  {
    name: "forged-ban-stands",
    wrong: "leaves a ban that its evidence does not bear out",
    node: (ports) => ({
      ...ports,
      store: replacing(ports.store, { strikeBan: async () => false }),
    }),
  },
];
