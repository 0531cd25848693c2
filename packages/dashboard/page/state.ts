import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type FeedState, follow, read } from "./api.ts";
import type {
  Ban,
  CommittedEvent,
  NodeStatus,
  Reputation,
  Sender,
  Submission,
  SubmitterStatus,
  SubmitterView,
  Transaction,
} from "./types.ts";

/** Transactions that are kept: some screens. */
const FEED_MAX = 200;
const STATUS_INTERVAL_MS = 2_000;
const SUBMITTER_INTERVAL_MS = 3_000;
/** How often what has come is drawn, however much it is. */
const DRAW_INTERVAL_MS = 150;
/** One point of the charts, and how many are kept: ten minutes. */
const SAMPLE_INTERVAL_MS = 2_000;
const SAMPLES_MAX = 300;

export interface Sample {
  readonly atSeconds: number;
  readonly votesPerSecond: number;
  readonly decidedPerSecond: number;
  readonly open: number;
  readonly toChain: number;
}

export interface State {
  readonly kind: "unknown" | "node" | "submitter";
  readonly status: NodeStatus | null;
  /** Why the last question was not answered. */
  readonly problem: ApiError | null;
  readonly feed: FeedState;
  readonly transactions: readonly Transaction[];
  readonly bans: readonly Ban[];
  readonly submitter: SubmitterView | null;
  readonly samples: readonly Sample[];
  readonly nowMs: number;
}

const EMPTY: State = {
  kind: "unknown",
  status: null,
  problem: null,
  feed: "connecting",
  transactions: [],
  bans: [],
  submitter: null,
  samples: [],
  nowMs: Date.now(),
};

/** All the page shows, kept up to date. `again` asks for everything anew, as with another token. */
export function useCluster(): { readonly state: State; readonly again: () => void } {
  const [state, setState] = useState<State>(EMPTY);
  const [round, setRound] = useState(0);
  const again = useCallback(() => setRound((n) => n + 1), []);
  const counters = useRef({ votes: 0, decided: 0 });
  const waiting = useRef<CommittedEvent[]>([]);

  useEffect(() => {
    let isOver = false;
    const timers: number[] = [];
    const every = (ms: number, work: () => void): void => {
      timers.push(window.setInterval(work, ms));
    };
    const change = (update: (before: State) => Partial<State>): void => {
      if (!isOver) setState((before) => ({ ...before, ...update(before) }));
    };
    const asked = async <T>(path: string, take: (answer: T) => Partial<State>): Promise<void> => {
      try {
        const answer = await read<T>(path);
        change(() => ({ ...take(answer), nowMs: Date.now() }));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (path === "/v1/status") change(() => ({ problem: error, nowMs: Date.now() }));
      }
    };
    const readBans = (): Promise<void> =>
      asked<{ bans: Ban[] }>("/v1/bans", ({ bans }) => ({
        bans: bans.toSorted((a, b) => (a.bannedAt < b.bannedAt ? 1 : -1)),
      }));

    const asNode = (): void => {
      const readStatus = (): Promise<void> =>
        asked<NodeStatus>("/v1/status", (status) => ({ status, problem: null }));
      const readSubmitter = (): Promise<void> =>
        asked<SubmitterView & { configured: boolean }>("/v1/submitter", (submitter) => ({
          submitter: submitter.configured ? submitter : null,
        }));
      every(STATUS_INTERVAL_MS, () => void readStatus());
      every(SUBMITTER_INTERVAL_MS, () => void readSubmitter());
      every(10_000, () => void readBans());
      void readSubmitter();
      const end = follow({
        onState: (feed) => change(() => ({ feed })),
        onHello: () => {
          waiting.current = [];
          void readStatus();
          void readBans();
          void asked<{ transactions: Transaction[] }>("/v1/transactions?limit=100", (answer) => ({
            transactions: answer.transactions,
          }));
        },
        onEvents: (events) => {
          waiting.current.push(...events);
          // While the tab sleeps nothing is drawn: only what would still be shown is kept.
          if (waiting.current.length > 10 * FEED_MAX) waiting.current.splice(0, 5 * FEED_MAX);
        },
      });
      ends.push(end);
      every(DRAW_INTERVAL_MS, () => {
        const events = waiting.current;
        if (events.length === 0) return;
        waiting.current = [];
        if (events.some((e) => e.type === "ban" || e.type === "unban")) void readBans();
        if (events.some((e) => e.type !== "transaction" && e.type !== "violation"))
          void readStatus();
        change((before) => ({
          transactions: merged(before.transactions, events, counters.current),
          bans: events.reduce(withBan, before.bans),
        }));
      });
      every(SAMPLE_INTERVAL_MS, () => {
        const { votes, decided } = counters.current;
        counters.current = { votes: 0, decided: 0 };
        change((before) => ({
          samples: [...before.samples.slice(1 - SAMPLES_MAX), sampleOf(before, votes, decided)],
          nowMs: Date.now(),
        }));
      });
    };

    const asSubmitter = (): void => {
      const look = async (): Promise<void> => {
        const view = await readSubmitterDirectly();
        change(() => ({
          submitter: view,
          problem: view.status === null ? new ApiError(0, "UNREACHABLE", view.problem ?? "") : null,
          feed: view.status === null ? "lost" : "live",
          nowMs: Date.now(),
        }));
      };
      every(SUBMITTER_INTERVAL_MS, () => void look());
      void look();
    };

    const ends: (() => void)[] = [];
    const begin = async (): Promise<void> => {
      try {
        const first = await read<NodeStatus | SubmitterStatus>("/v1/status");
        if (isOver) return;
        if ("trustees" in first) {
          change(() => ({ kind: "node", status: first, problem: null }));
          asNode();
        } else {
          change(() => ({ kind: "submitter", problem: null }));
          asSubmitter();
        }
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        change(() => ({ problem: error }));
        // Without the right token asking again would be of no use.
        if (error.status !== 401 && error.status !== 403)
          timers.push(window.setTimeout(begin, 2_000));
      }
    };
    void begin();
    return () => {
      isOver = true;
      for (const timer of timers) window.clearInterval(timer);
      for (const end of ends) end();
    };
  }, [round]);
  return { state, again };
}

/** The newest first; what changed moves to the top. */
function merged(
  before: readonly Transaction[],
  events: readonly CommittedEvent[],
  counters: { votes: number; decided: number },
): readonly Transaction[] {
  const byId = new Map(before.toReversed().map((tx) => [tx.txId, tx]));
  for (const event of events) {
    if (event.type !== "transaction") continue;
    const { transaction: tx } = event;
    const known = byId.get(tx.txId);
    counters.votes += Math.max(0, (tx.votes?.length ?? 0) - (known?.votes?.length ?? 0));
    if (isDecided(tx.status) && !isDecided(known?.status ?? "")) counters.decided++;
    byId.delete(tx.txId);
    byId.set(tx.txId, { ...known, ...tx });
  }
  return [...byId.values()].slice(-FEED_MAX).reverse();
}

function isDecided(status: string): boolean {
  return status !== "" && status !== "COLLECTING";
}

function withBan(bans: readonly Ban[], event: CommittedEvent): readonly Ban[] {
  if (event.type !== "ban" && event.type !== "unban") return bans;
  const others = bans.filter(({ peerId }) => peerId !== event.peerId);
  return event.type === "ban" ? [event, ...others] : others;
}

function sampleOf({ status, submitter }: State, votes: number, decided: number): Sample {
  const seconds = SAMPLE_INTERVAL_MS / 1_000;
  const counts = submitter?.status?.counts ?? {};
  const toChain = ["QUEUED", "ASSIGNED", "INCLUDED"].reduce((n, s) => n + (counts[s] ?? 0), 0);
  return {
    atSeconds: Date.now() / 1_000,
    votesPerSecond: votes / seconds,
    decidedPerSecond: decided / seconds,
    open: status?.openTransactions ?? 0,
    toChain,
  };
}

async function readSubmitterDirectly(): Promise<SubmitterView> {
  const part = async <T>(path: string): Promise<T | null> => {
    try {
      return await read<T>(path);
    } catch (error) {
      if (error instanceof ApiError) return null;
      throw error;
    }
  };
  const [status, sender, reputations, submissions] = await Promise.all([
    part<SubmitterStatus>("/v1/status"),
    part<Sender>("/v1/sender"),
    part<{ reputations: Reputation[] }>("/v1/reputations"),
    part<{ submissions: Submission[] }>("/v1/submissions?limit=50"),
  ]);
  return {
    problem: status === null ? "the submitter does not answer" : null,
    explorerUrl: null,
    status,
    sender,
    reputations: reputations?.reputations ?? [],
    submissions: submissions?.submissions ?? [],
  };
}
