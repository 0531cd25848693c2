import type { AbortOptions, BlockRef, ChainError, Clock, Hex } from "@quorate/ports";

import { newestBlock } from "./chain-reads.ts";
import { type EndpointIndex, type EndpointPool, type Reply, summarize } from "./endpoint-pool.ts";
import { gather } from "./gather.ts";

// An endpoint that stands still must not make the submitter stand still, so the head is looked for
// at all of them.

/**
 * How far behind an endpoint may be before reads go to others first, in blocks: two minutes of the main
 * network. Endpoints that are in step differ by one or two blocks, and one behind a balancer by a few.
 */
export const HEAD_LAG_BLOCKS_MAX = 10n;

// How long the others are waited for once one endpoint has named its head, in ms: enough for those that
// are in step, and a slow one is heard at the next look.
const HEAD_GRACE_MS = 200;

export interface HeadWatch {
  /**
   * Asks every endpoint and resolves with the highest head; a ChainError when none answers. Sets aside for reads
   * who lags or stands still, until it catches up. Rejects only with the signal's reason and for bugs.
   */
  look(options: AbortOptions): Promise<BlockRef | ChainError>;
  /** Forgets who lags: nobody would notice any more that one has caught up. */
  close(): void;
}

interface Named {
  readonly from: EndpointIndex;
  readonly head: BlockRef;
}

/** What an endpoint named last, and where each other one was when it first did. */
interface Standing {
  readonly hash: Hex;
  readonly others: Map<EndpointIndex, bigint>;
}

export function createHeadWatch(
  pool: EndpointPool,
  dependencies: { readonly clock: Clock },
): HeadWatch {
  const underWay = new Map<EndpointIndex, Promise<Reply<BlockRef>>>();
  const heads = new Map<EndpointIndex, BlockRef>();
  const standings = new Map<EndpointIndex, Standing>();

  // Until its answer is heard none is asked again: a silent one would gather a request per look, and a slow one
  // would never be heard.
  const ask = (from: EndpointIndex, { signal }: AbortOptions): Promise<Reply<BlockRef>> => {
    const before = underWay.get(from);
    if (before !== undefined) return before;
    const asked = pool.ask(from, (call) => newestBlock(call, { signal }), {
      signal,
      // What failed at something else may well name its head.
      clears: false,
    });
    // It may end when nobody waits for it any more.
    asked.catch(() => null);
    underWay.set(from, asked);
    return asked;
  };

  /** Whether it names the same block as ever while another one went on: whatever its height, it says nothing of now. */
  const standsStill = ({ from, head }: Named, all: readonly Named[]): boolean => {
    let standing = standings.get(from);
    if (standing?.hash !== head.hash) {
      standing = { hash: head.hash, others: new Map() };
      standings.set(from, standing);
    }
    let still = false;
    for (const other of all) {
      if (other.from === from) continue;
      const before = standing.others.get(other.from);
      if (before === undefined) standing.others.set(other.from, other.head.number);
      else if (other.head.number > before + HEAD_LAG_BLOCKS_MAX) still = true;
    }
    return still;
  };

  return {
    look: async ({ signal }) => {
      const asked = pool.labels.map((_, from) => ask(from, { signal }));
      const replies = await gather(
        asked,
        { enough: (there) => there.some(({ kind }) => kind === "answer"), graceMs: HEAD_GRACE_MS },
        dependencies,
      );
      for (const reply of replies) {
        underWay.delete(reply.from);
        if (reply.kind === "answer") heads.set(reply.from, reply.value);
        else heads.delete(reply.from);
      }
      // Who has yet to answer counts with what it named last, or the head would go back and forth with its pace.
      const named = [...heads].map(([from, head]): Named => ({ from, head }));
      const judged = named.map((one) => ({ ...one, still: standsStill(one, named) }));
      const moving = judged.filter(({ still }) => !still).toSorted(byHeight);
      // Whoever changed its head last is among them.
      const [highest, second] = moving;
      if (highest === undefined)
        return summarize(replies.filter((reply) => reply.kind === "failure"));
      // Of three the second highest is borne out: one that runs ahead alone must not set all others aside.
      const measure = (moving.length >= 3 ? second : highest) ?? highest;
      for (const { from, head, still } of judged) {
        const behind = measure.head.number - head.number;
        pool.lagging(
          from,
          still
            ? `its head stays at block ${head.number} while others go on`
            : behind > HEAD_LAG_BLOCKS_MAX
              ? `its head is ${behind} blocks behind that of others`
              : null,
        );
      }
      return highest.head;
    },
    close: () => {
      for (const from of pool.labels.keys()) pool.lagging(from, null);
    },
  };
}

function byHeight(a: Named, b: Named): number {
  return a.head.number < b.head.number ? 1 : a.head.number > b.head.number ? -1 : 0;
}
