import {
  type Chain,
  ChainError,
  type ChainSigner,
  FaultLoss,
  type FaultPoint,
  SignerError,
  StoreError,
  type SubmissionStore,
  type TallyStore,
  type TxCommit,
} from "@quorate/ports";
import { overriding } from "./port-overrides.ts";

/** The ports through which a submitter touches the world, and which a fault can befall. */
export interface SubmitterPorts {
  readonly store: TallyStore;
  readonly submissions: SubmissionStore;
  readonly chain: Chain;
  readonly signer: ChainSigner;
}

type Operations<Port> = Partial<Record<keyof Port, string>>;

// Every durable write and every network call on the way from a decision to the chain. What is pure has no place to fail.
const SUBMISSION_OPERATIONS = {
  becomeLeader: "pg.become-leader",
  isLeader: "pg.is-leader",
  senderState: "pg.sender-state",
  enqueue: "pg.enqueue",
  peekQueued: "pg.peek-queued",
  assign: "pg.assign",
  reserve: "pg.reserve",
  addAttempt: "pg.add-attempt",
  gaps: "pg.gaps",
  liveSlots: "pg.live-slots",
  noteSent: "pg.note-sent",
  markIncluded: "pg.mark-included",
  markReorged: "pg.mark-reorged",
  markFinalized: "pg.mark-finalized",
  markAlreadyRecorded: "pg.mark-already-recorded",
  quarantine: "pg.quarantine",
  abortQueued: "pg.abort-queued",
  freeze: "pg.freeze",
  importRecords: "pg.import-records",
  markHistoryChecked: "pg.mark-history-checked",
  unconfirmed: "pg.unconfirmed",
  markConfirmed: "pg.mark-confirmed",
  counts: "pg.counts",
} as const satisfies Operations<SubmissionStore>;

const HEAD = "chain.head";

const CHAIN_OPERATIONS = {
  head: HEAD,
  finalizedHead: "chain.finalized-head",
  blockAt: "chain.block",
  transactionCount: "chain.count",
  nonceFloor: "chain.nonce-floor",
  balanceWei: "chain.balance",
  receipt: "chain.receipt",
  recordOf: "chain.record",
  recordsOf: "chain.records",
  recordedEvents: "chain.events",
  suggestFees: "chain.fees",
  simulateBatch: "chain.simulate",
  send: "chain.send",
} as const satisfies Operations<Chain>;

const SIGNER_OPERATIONS = { sign: "signer.sign" } as const satisfies Operations<ChainSigner>;

const STORE_OPERATIONS = {
  read: "etcd.read",
  readConfig: "etcd.read-config",
} as const satisfies Operations<TallyStore>;

const CLAIM = "etcd.claim";
const CONFIRM = "etcd.confirm";

/** All operations at which a fault can be armed, each as `.before` and `.after`. */
export const FAULT_OPERATIONS: readonly string[] = [
  CLAIM,
  CONFIRM,
  ...Object.values(STORE_OPERATIONS),
  ...Object.values(SUBMISSION_OPERATIONS),
  ...Object.values(CHAIN_OPERATIONS),
  ...Object.values(SIGNER_OPERATIONS),
];

/** The names that `QUORATE_FAULT_POINT` may give to a submitter. At `.before` a loss is the request's, at `.after` the answer's. */
export const FAULT_POINTS: readonly string[] = FAULT_OPERATIONS.flatMap((name) => [
  `${name}.before`,
  `${name}.after`,
]);

/**
 * The same ports, with a fault point before and after each call that writes or goes over a network. A loss there is what
 * the caller would see of it: the effect of a lost answer stands, and nobody was told.
 */
export function withFaultPoints(ports: SubmitterPorts, fault: FaultPoint): SubmitterPorts {
  const store = around(ports.store, STORE_OPERATIONS, fault, storeLoss);
  const chain = around(ports.chain, CHAIN_OPERATIONS, fault, chainLoss);
  return {
    store: overriding(store, {
      commit: (commits, epochVersion, options) =>
        passing(commitName(commits), fault, storeLoss, () =>
          ports.store.commit(commits, epochVersion, options),
        ),
    }),
    submissions: around(ports.submissions, SUBMISSION_OPERATIONS, fault, storeLoss),
    chain: overriding(chain, {
      // Heads come by themselves. One that is lost is never heard of, or only when it was acted on; the next one comes.
      watchHeads: (onHead, options) =>
        ports.chain.watchHeads(
          (head) =>
            passing(HEAD, fault, chainLoss, async () => await onHead(head)).catch(
              (error: unknown) => {
                if (!isLoss(error)) throw error;
              },
            ),
          options,
        ),
      // A send never rejects for what an endpoint does; a loss is one more thing it says.
      send: async (raw, options) => {
        try {
          return await chain.send(raw, options);
        } catch (error) {
          if (!isLoss(error)) throw error;
          return { kind: "unreachable", detail: error.message };
        }
      },
    }),
    signer: around(ports.signer, SIGNER_OPERATIONS, fault, signerLoss),
  };
}

const isLoss = (error: unknown): error is ChainError =>
  error instanceof ChainError && error.cause instanceof FaultLoss;

function commitName(commits: readonly TxCommit[]): string {
  return commits.some(({ writes }) => writes.status === "CONFIRMED") ? CONFIRM : CLAIM;
}

const storeLoss = (cause: FaultLoss): Error =>
  new StoreError("UNAVAILABLE", cause.message, { retryable: true, cause });
const chainLoss = (cause: FaultLoss): Error =>
  new ChainError("RPC_UNREACHABLE", cause.message, { retryable: true, cause });
const signerLoss = (cause: FaultLoss): Error =>
  new SignerError("TIMEOUT", cause.message, { cause });

async function passing<T>(
  name: string,
  fault: FaultPoint,
  lossOf: (cause: FaultLoss) => Error,
  call: () => Promise<T>,
): Promise<T> {
  const pass = (point: string): void => {
    try {
      fault(point);
    } catch (error) {
      throw error instanceof FaultLoss ? lossOf(error) : error;
    }
  };
  pass(`${name}.before`);
  const result = await call();
  pass(`${name}.after`);
  return result;
}

/** The port itself with some of its methods named; the others, and what is no method, are the port's own. */
function around<Port extends object>(
  port: Port,
  names: Operations<Port>,
  fault: FaultPoint,
  lossOf: (cause: FaultLoss) => Error,
): Port {
  const named = new Map<PropertyKey, unknown>(Object.entries(names));
  return new Proxy(port, {
    get: (target, property) => {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== "function") return member;
      const name = named.get(property);
      if (typeof name !== "string") return member.bind(target);
      return (...args: readonly unknown[]) =>
        passing(name, fault, lossOf, async () => await Reflect.apply(member, target, args));
    },
  });
}
