import { prng, type SeededRandom } from "@quorate/testkit";

/** What a fault befalls: a trustee or a submitter by its place, or one of the servers. */
export type FaultKind =
  // Processes.
  | "node-crash"
  | "node-crash-at-point"
  | "node-pause"
  /** All trustees' processes die together. */
  | "power-cut"
  | "node-disk-full"
  | "node-disk-slow"
  | "node-clock-jump"
  | "submitter-crash"
  | "submitter-crash-at-point"
  /** Paused past its lease, and woken: it believes for a moment that it still leads. */
  | "submitter-zombie"
  // The network between trustees.
  | "gossip-loss"
  | "gossip-delay"
  | "gossip-duplicate"
  | "gossip-partition"
  | "gossip-isolate"
  // etcd.
  | "etcd-slow"
  | "etcd-request-lost"
  | "etcd-reply-lost"
  | "etcd-leader-change"
  | "etcd-restart"
  | "etcd-cut"
  | "etcd-watch-lag"
  | "etcd-lease-expiry"
  | "etcd-compaction"
  // PostgreSQL.
  | "pg-slow"
  | "pg-commit-unknown"
  | "pg-restart"
  | "pg-cut"
  // The chain and its endpoints.
  | "chain-reorg"
  | "chain-reorg-to-pool"
  | "chain-pool-dropped"
  | "chain-full-blocks"
  | "chain-fee-spike"
  | "chain-forgets-sends"
  | "chain-foreign-nonce"
  | "rpc-slow"
  | "rpc-reply-lost"
  | "rpc-down"
  | "rpc-lies"
  /** An operator changes the threshold, or takes a trustee out, or puts it back in. */
  | "epoch-change"
  // Somebody who can write to etcd.
  | "intruder-forges-ban"
  | "intruder-forges-status";

/** One misfortune. Drawn before the run begins, so that it can be left out and everything else stays as it was. */
export interface Fault {
  readonly id: number;
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly forMs: number;
  /** Whom it befalls: a place among trustees or submitters, taken modulo their number; a client of a server likewise. */
  readonly target: number;
  /** How much: a probability, or a share of what is possible. In [0, 1). */
  readonly extent: number;
  /** For its own draws. */
  readonly salt: number;
}

interface FaultShape {
  readonly kind: FaultKind;
  /** How often it is drawn, relative to the others. */
  readonly weight: number;
  readonly forMsMax: number;
}

const shape = (kind: FaultKind, weight: number, forMsMax: number): FaultShape => ({
  kind,
  weight,
  forMsMax,
});

/** Every kind there is. */
export const FAULT_SHAPES: readonly FaultShape[] = [
  shape("node-crash", 6, 12_000),
  shape("node-crash-at-point", 5, 20_000),
  shape("node-pause", 4, 12_000),
  shape("power-cut", 2, 8_000),
  shape("node-disk-full", 2, 8_000),
  shape("node-disk-slow", 3, 20_000),
  shape("node-clock-jump", 3, 1),
  shape("submitter-crash", 4, 10_000),
  shape("submitter-crash-at-point", 6, 30_000),
  shape("submitter-zombie", 5, 20_000),
  shape("gossip-loss", 4, 20_000),
  shape("gossip-delay", 3, 20_000),
  shape("gossip-duplicate", 3, 20_000),
  shape("gossip-partition", 3, 15_000),
  shape("gossip-isolate", 3, 15_000),
  shape("etcd-slow", 4, 15_000),
  shape("etcd-request-lost", 3, 15_000),
  shape("etcd-reply-lost", 5, 15_000),
  shape("etcd-leader-change", 4, 4_000),
  shape("etcd-restart", 3, 6_000),
  shape("etcd-cut", 4, 15_000),
  shape("etcd-watch-lag", 4, 15_000),
  shape("etcd-lease-expiry", 3, 1),
  shape("etcd-compaction", 2, 1),
  shape("pg-slow", 2, 10_000),
  shape("pg-commit-unknown", 5, 15_000),
  shape("pg-restart", 4, 6_000),
  shape("pg-cut", 3, 10_000),
  shape("chain-reorg", 4, 1),
  shape("chain-reorg-to-pool", 3, 1),
  shape("chain-pool-dropped", 3, 1),
  shape("chain-full-blocks", 3, 20_000),
  shape("chain-fee-spike", 3, 25_000),
  shape("chain-forgets-sends", 3, 15_000),
  shape("chain-foreign-nonce", 2, 1),
  shape("rpc-slow", 2, 15_000),
  shape("rpc-reply-lost", 3, 15_000),
  shape("rpc-down", 3, 12_000),
  shape("rpc-lies", 4, 15_000),
  shape("epoch-change", 3, 1),
  shape("intruder-forges-ban", 2, 1),
  shape("intruder-forges-status", 2, 1),
];

/** Draws a schedule of faults for a run. */
export function drawFaults(
  seed: number,
  count: number,
  durationMs: number,
  shapes: readonly FaultShape[] = FAULT_SHAPES,
): readonly Fault[] {
  const random = prng(seed ^ 0x5f3759df);
  const total = shapes.reduce((sum, { weight }) => sum + weight, 0);
  return Array.from({ length: count }, (_, id): Fault => {
    let at = random.next() * total;
    const chosen = shapes.find(({ weight }) => (at -= weight) < 0) ?? shapes[0];
    if (chosen === undefined) throw new Error("there is no fault to draw from");
    const forMs = 1 + Math.floor(random.next() ** 2 * chosen.forMsMax);
    const atMs = Math.floor(random.next() * durationMs);
    return {
      id,
      kind: chosen.kind,
      atMs,
      // It is over when the faults are.
      forMs: Math.min(forMs, Math.max(1, durationMs - atMs)),
      target: random.below(1 << 16),
      extent: random.next(),
      salt: random.below(2 ** 31),
    };
  }).sort((a, b) => a.atMs - b.atMs || a.id - b.id);
}

/** A fault's own draws. */
export function randomOf(fault: Fault): SeededRandom {
  return prng(fault.salt);
}
