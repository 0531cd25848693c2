import type { TallyStore } from "@quorate/ports";
import { MUTANTS as CHAOS_MUTANTS } from "../../chaos/lib/mutants.ts";
import type { Mutant, SubmitterMutation } from "./mutants.ts";
import { replacing } from "./replacing.ts";

/** It needs two endpoints with pools of their own, of which the older transaction is mined from one: here there is one pool. */
const NOT_HERE = "delete-old-attempt";

/** Those of the chaos runs, which need no process and no server here. */
const FROM_CHAOS: readonly Mutant[] = CHAOS_MUTANTS.filter(({ name }) => name !== NOT_HERE).map(
  ({ name, wrong, wrap }) => {
    const submitter: SubmitterMutation = ({ audit, ...ports }) => ({ ...wrap(ports), audit });
    return { name, wrong, submitter };
  },
);

export const SUBMITTER_MUTANTS: readonly Mutant[] = [
  ...FROM_CHAOS,
  {
    name: "requeue-while-alive",
    wrong:
      "gives a result another nonce when a reorg has undone its block, while the old one can still be mined",
    submitter: (ports) => ({
      ...ports,
      submissions: replacing(ports.submissions, {
        markReorged: async (lease, nonce, _reason, options) => {
          const { chainId, address } = lease;
          const slots = await ports.submissions.liveSlots({ chainId, address }, options);
          const items = slots.find((slot) => slot.nonce === nonce)?.items ?? [];
          return await ports.submissions.markFinalized(
            lease,
            nonce,
            {
              state: "FINALIZED_FOREIGN",
              blockNumber: null,
              items: items.map(({ txId }) => ({ txId, outcome: "requeue", txHash: null })),
              requeuesMax: 100,
            },
            options,
          );
        },
      }),
    }),
  },
  {
    name: "final-at-once",
    wrong: "takes the newest block for final",
    submitter: (ports) => ({
      ...ports,
      chain: replacing(ports.chain, {
        finalizedHead: (_mode, options) => ports.chain.head(options),
      }),
    }),
  },
  {
    name: "queued-before-claim",
    wrong: "queues a result while its claim is on its way to etcd",
    submitter: (ports) => ({
      ...ports,
      store: replacing(ports.store, { commit: hasty(ports.store) }),
    }),
  },
  {
    name: "projector-takes-unknown-for-success",
    wrong: "goes on after a failed batch as if it were recorded, from wherever the position is",
    submitter: (ports) => ({
      ...ports,
      audit: replacing(ports.audit, {
        append: async (_expected, batch, options) => {
          try {
            const position = await ports.audit.position(options);
            return await ports.audit.append(position, batch, options);
          } catch {
            return "appended";
          }
        },
      }),
    }),
  },
  {
    name: "projector-not-idempotent",
    wrong: "records a batch again whose reply was lost",
    submitter: (ports) => ({
      ...ports,
      audit: replacing(ports.audit, {
        append: async (_expected, batch, options) => {
          const position = await ports.audit.position(options);
          return await ports.audit.append(position, batch, options);
        },
      }),
    }),
  },
];

/** Says at once that it is committed. */
function hasty(store: TallyStore): TallyStore["commit"] {
  return async (commits, epochVersion, options) => {
    store.commit(commits, epochVersion, options).catch(() => {});
    return commits.map(({ version }) => ({ kind: "committed", revision: version + 1n }));
  };
}
