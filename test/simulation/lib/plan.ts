import type { DissentPolicy, PunishmentProfile } from "@quorate/core";
import { prng, type SeededRandom } from "@quorate/testkit";
import { drawFaults, type Fault } from "./faults.ts";

export type ByzantineKind =
  /** Two values to everybody. */
  | "double-voter"
  /** One value to some peers, another to the others. */
  | "equivocator"
  /** A value of its own. */
  | "minority-voter"
  /** A frame whose inner signature is nobody's. */
  | "bad-signature"
  /** A frame in another trustee's name, which it can't sign. */
  | "impostor"
  /** Is there, and never votes. */
  | "silent"
  /** Votes when the deadline has passed. */
  | "late"
  /** Opens transactions of its own, sends garbage and repeats itself. */
  | "flooder"
  /** One to three of these at a time, drawn anew for each transaction. */
  | "chaotic";

export const BYZANTINE_KINDS: readonly ByzantineKind[] = [
  "double-voter",
  "equivocator",
  "minority-voter",
  "bad-signature",
  "impostor",
  "silent",
  "late",
  "flooder",
  "chaotic",
];

export interface Byzantine {
  readonly index: number;
  readonly kind: ByzantineKind;
}

/** An operator's request to a trustee's own node, repeated until it has an answer for good. */
export interface CastPlan {
  readonly atMs: number;
  readonly node: number;
  readonly txId: string;
  readonly value: bigint;
  /** A later request with another value for the same transaction: an operator's mistake, which the node must refuse. */
  readonly mistake: { readonly afterMs: number; readonly value: bigint } | null;
}

/** Everything that a seed decides before the run. The run adds draws of its own, each from a stream with its own name. */
export interface Plan {
  readonly seed: number;
  readonly trustees: number;
  readonly threshold: number;
  readonly policy: DissentPolicy;
  readonly profile: PunishmentProfile;
  readonly deadlineMs: number;
  readonly submitters: number;
  /** When they are started: until then what has its threshold stays open to dissent. */
  readonly submittersFromMs: number;
  readonly byzantine: readonly Byzantine[];
  /** How wrong each trustee's clock is: ms, and share of a second. */
  readonly clocks: readonly { readonly skewMs: number; readonly drift: number }[];
  readonly remoteSigner: boolean;
  readonly blockMs: number;
  readonly casts: readonly CastPlan[];
  /** Transactions and their value, as the honest see it. */
  readonly transactions: readonly {
    readonly txId: string;
    readonly value: bigint;
    readonly atMs: number;
  }[];
  /** Until when faults happen. */
  readonly stormMs: number;
  readonly faults: readonly Fault[];
}

/** Trustees and thresholds that keep 2t > N. */
const SHAPES: readonly (readonly [trustees: number, threshold: number])[] = [
  [3, 2],
  [4, 3],
  [4, 3],
  [5, 3],
  [5, 4],
  [5, 4],
];

/** Draws a run's plan. */
export function drawPlan(seed: number): Plan {
  const random = prng(seed);
  const [trustees, threshold] = pick(random, SHAPES);
  const policy = random.next() < 0.6 ? "strict-abort" : "quarantine-and-continue";
  const profile = random.next() < 0.75 ? "balanced" : "strict";
  const byzantine = drawByzantine(random, trustees, threshold);
  const stormMs = 30_000 + random.below(40_000);
  const transactions = drawTransactions(random, seed, stormMs);
  const bad = new Set(byzantine.map(({ index }) => index));
  const honest = Array.from({ length: trustees }, (_, i) => i).filter((i) => !bad.has(i));
  const casts = transactions.flatMap((tx) => drawCasts(random, tx, honest));
  // One in eight runs has no fault at all, and then must be perfect.
  const faultCount = random.next() < 0.1 ? 0 : 2 + random.below(36);
  return {
    seed,
    trustees,
    threshold,
    policy,
    profile,
    // Short ones pass while something else is still under way.
    deadlineMs: random.next() < 0.4 ? 2_000 + random.below(2_000) : 6_000 + random.below(9_000),
    submittersFromMs: random.next() < 0.25 ? random.below(stormMs) : 0,
    submitters: 1 + random.below(2) + (random.next() < 0.2 ? 1 : 0),
    byzantine,
    clocks: Array.from({ length: trustees }, () => ({
      skewMs: random.next() < 0.7 ? random.below(400) - 200 : random.below(16_000) - 8_000,
      drift: (random.next() - 0.5) * 0.002,
    })),
    remoteSigner: random.next() < 0.25,
    blockMs: 800 + random.below(1_600),
    casts,
    transactions,
    stormMs,
    faults: drawFaults(seed, faultCount, stormMs),
  };
}

/** Some come together: what is decided on one then meets what is under way on the others. */
function drawTransactions(
  random: SeededRandom,
  seed: number,
  stormMs: number,
): Plan["transactions"] {
  let atMs = 0;
  return Array.from({ length: 6 + random.below(20) }, (_, i) => {
    atMs = random.next() < 0.4 ? atMs + random.below(60) : random.below(Math.floor(stormMs * 0.85));
    return { txId: `tx-${seed}-${i}`, value: drawValue(random), atMs };
  });
}

function drawByzantine(
  random: SeededRandom,
  trustees: number,
  threshold: number,
): readonly Byzantine[] {
  // Two values can't both reach t while at most 2t-N-1 lie, and t is reached while at most N-t are absent.
  const safe = Math.min(2 * threshold - trustees - 1, trustees - threshold);
  const draw = random.next();
  // Mostly as many as are survived; sometimes none; sometimes so many that nothing may be recorded at all.
  const count =
    draw < 0.3 ? 0 : draw < 0.85 ? Math.max(1, safe) : Math.max(1, trustees - threshold);
  return random
    .shuffled(Array.from({ length: trustees }, (_, i) => i))
    .slice(0, count)
    .map((index) => ({
      index,
      kind: random.next() < 0.4 ? "chaotic" : pick(random, BYZANTINE_KINDS),
    }));
}

function drawValue(random: SeededRandom): bigint {
  if (random.next() < 0.1) return 2n ** 64n - 1n;
  return BigInt(random.below(1_000_000));
}

function drawCasts(
  random: SeededRandom,
  tx: Plan["transactions"][number],
  honest: readonly number[],
): readonly CastPlan[] {
  // Honest trustees may see different facts; then there may be no majority.
  const disputed = random.next() < 0.06;
  const spreadMs = random.next() < 0.7 ? 300 : 4_000;
  return honest.flatMap((node): readonly CastPlan[] => {
    if (random.next() < 0.03) return [];
    const value = disputed && random.next() < 0.4 ? (tx.value + 1n) % 2n ** 64n : tx.value;
    const mistake =
      random.next() < 0.12
        ? { afterMs: random.below(15_000), value: (value + 7n) % 2n ** 64n }
        : null;
    return [{ atMs: tx.atMs + random.below(spreadMs), node, txId: tx.txId, value, mistake }];
  });
}

export function pick<T>(random: SeededRandom, items: readonly T[]): T {
  const item = items[random.below(items.length)];
  if (item === undefined) throw new Error("nothing to pick from");
  return item;
}
