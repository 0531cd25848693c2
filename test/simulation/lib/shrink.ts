import type { LawName } from "./laws/law.ts";
import type { Mutant } from "./mutants.ts";
import type { Plan } from "./plan.ts";
import { runPlan } from "./run-seed.ts";

export interface Shrunk {
  readonly plan: Plan;
  readonly runs: number;
}

/** Runs at most; each costs as much as a seed. */
const RUNS_MAX = 120;

/**
 * Cuts a failing plan down: faults, then Byzantine trustees and requests are left out, in halves and then one by one, as long as
 * the same law stays broken. (Zeller's delta debugging.) Also smaller numbers of submitters are tried.
 */
export async function shrink(
  plan: Plan,
  law: LawName,
  mutant: Mutant | null = null,
  runsMax: number = RUNS_MAX,
): Promise<Shrunk> {
  let runs = 0;
  const fails = async (candidate: Plan): Promise<boolean> => {
    if (runs >= runsMax) return false;
    runs++;
    const { findings } = await runPlan(candidate, { mutant });
    return findings.some((finding) => finding.law === law);
  };
  let best = plan;
  const cut = async <T>(
    of: (plan: Plan) => readonly T[],
    put: (items: readonly T[]) => Partial<Plan>,
  ) => {
    const kept = await fewest(of(best), async (items) => await fails({ ...best, ...put(items) }));
    best = { ...best, ...put(kept) };
  };
  await cut(
    (p) => p.faults,
    (faults) => ({ faults }),
  );
  await cut(
    (p) => p.transactions,
    (transactions) => ({
      transactions,
      casts: best.casts.filter(({ txId }) => transactions.some((tx) => tx.txId === txId)),
    }),
  );
  await cut(
    (p) => p.byzantine,
    (byzantine) => ({ byzantine }),
  );
  await cut(
    (p) => p.faults,
    (faults) => ({ faults }),
  );
  if (best.submitters > 1 && (await fails({ ...best, submitters: 1 })))
    best = { ...best, submitters: 1 };
  return { plan: best, runs };
}

/** The items without which it does not fail: none of them can be left out alone. */
export async function fewest<T>(
  all: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let items = all;
  let parts = 2;
  while (items.length > 0) {
    const size = Math.max(1, Math.ceil(items.length / parts));
    let smaller: readonly T[] | null = null;
    for (let at = 0; at < items.length && smaller === null; at += size) {
      const rest = [...items.slice(0, at), ...items.slice(at + size)];
      if (await fails(rest)) smaller = rest;
    }
    if (smaller !== null) {
      items = smaller;
      parts = Math.max(2, parts - 1);
    } else if (size === 1) break;
    else parts = Math.min(items.length, parts * 2);
  }
  return items;
}
