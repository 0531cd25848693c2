import {
  LIMITS,
  onlySet,
  type PeerId,
  REFUSAL_REASONS,
  type Receipt,
  type RefusalReason,
  receiptFromJson,
  receiptToJson,
  refusedMessageHash,
  utf8,
  verifyReceipt,
} from "@quorate/core";
import type { TallyStore, VoteSigner } from "@quorate/ports";
import {
  type MemoryMetrics,
  memoryLogger,
  memoryMetrics,
  nodeAt,
  prng,
  SimClock,
  testCluster,
  txIdOf,
} from "@quorate/testkit";
import { describe, expect, it } from "vitest";
import { ReceiptBook } from "./receipt-book.ts";
import { RECEIPT_BOUNDS } from "./receipt-budget.ts";
import type { Refusal } from "./refusal.ts";

const cluster = testCluster({ trustees: 9, threshold: 6 });
const node = nodeAt(cluster, 0);
const peers: readonly PeerId[] = cluster.nodes.map((n) => n.peerId);
/** Names that cost nothing. */
const strangers: readonly PeerId[] = testCluster({
  trustees: 60,
  threshold: 40,
  seed: 2,
}).nodes.map((n) => n.peerId);
const [self, author, forwarder] = peers as [PeerId, PeerId, PeerId];

/** Keeps what it is given by sequence number, as the store does, and may be away. */
class Shelf implements Pick<TallyStore, "recordReceipts"> {
  readonly kept = new Map<number, Receipt>();
  readonly writes: (readonly Receipt[])[] = [];
  #failed: readonly Receipt[] | null = null;
  /** What befalls the next write. */
  fault: () => "none" | "before" | "after" = () => "none";

  async recordReceipts(receipts: readonly Receipt[]): Promise<void> {
    const fault = this.fault();
    this.writes.push([...receipts]);
    // Whoever does not know whether a write was done must repeat it as it was.
    if (this.#failed !== null) expect(receipts).toEqual(this.#failed);
    this.#failed = fault === "none" ? null : [...receipts];
    expect(receipts.length).toBeLessThanOrEqual(LIMITS.receiptsPerWriteMax);
    if (fault === "before") throw new Error("the store is away");
    for (const receipt of receipts) {
      const before = this.kept.get(receipt.sequence);
      if (before !== undefined) expect(receipt).toEqual(before);
      this.kept.set(receipt.sequence, receipt);
    }
    if (fault === "after") throw new Error("the reply is lost");
  }

  get receipts(): readonly Receipt[] {
    return [...this.kept.values()];
  }

  get messages(): number {
    return this.receipts.reduce((sum, { count }) => sum + count, 0);
  }
}

interface World {
  readonly clock: SimClock;
  readonly shelf: Shelf;
  readonly metrics: MemoryMetrics;
  readonly logger: ReturnType<typeof memoryLogger>;
  readonly book: ReceiptBook;
  readonly end: AbortController;
}

function world(signer: VoteSigner = node.signer): World {
  const clock = new SimClock();
  const shelf = new Shelf();
  const metrics = memoryMetrics();
  const logger = memoryLogger();
  const book = new ReceiptBook(
    { clusterId: cluster.set.clusterId, nodeId: node.nodeId, peerId: node.peerId },
    { store: shelf, signer, clock, logger, metrics },
  );
  const end = new AbortController();
  void book.run({ signal: end.signal });
  return { clock, shelf, metrics, logger, book, end };
}

function refusal(fields: Partial<Refusal> & { readonly reason?: RefusalReason } = {}): Refusal {
  const base = { txId: txIdOf("tx"), voter: null, author, forwarder };
  return { reason: "stale", bytes: utf8("message"), ...base, ...fields };
}

const times = (n: number, action: () => unknown): void => {
  for (let i = 0; i < n; i++) action();
};

describe("a refusal", () => {
  it("has a signed receipt at once that says what was refused, by whom, when and why", async () => {
    const { book, clock, shelf } = world();
    const receipt = book.refuse(refusal({ voter: node.nodeId, bytes: utf8("x") }));
    expect(receipt).toMatchObject({
      nodeId: node.nodeId,
      peerId: node.peerId,
      sequence: 1,
      reason: "stale",
      count: 1,
      firstAtMs: clock.nowMs(),
      lastAtMs: clock.nowMs(),
      issuedAtMs: clock.nowMs(),
      runStartedAtMs: clock.nowMs(),
      messageHash: refusedMessageHash(utf8("x")),
      txId: "tx",
      voter: node.nodeId,
      author,
      forwarder,
    });
    if (receipt === null) throw new Error("there is a receipt");
    expect(verifyReceipt(receipt, onlySet(cluster.set), cluster.verify).ok).toBe(true);
    expect(receiptFromJson(receiptToJson(receipt)).ok).toBe(true);
    expect(book.recent(10)).toEqual([receipt]);
    const next = book.refuse(refusal());
    expect(book.recent(10)).toEqual([next, receipt]);
    expect(book.recent(1)).toEqual([next]);
    expect(book.recent(0)).toEqual([]);
    await clock.advance(RECEIPT_BOUNDS.flushMs);
    expect(shelf.receipts).toEqual([receipt, next]);
  });

  it("beyond its peer's budget is counted with the others of the window, and the budget comes back", async () => {
    const { book, clock, shelf, metrics } = world();
    const startMs = clock.nowMs();
    times(20, () => expect(book.refuse(refusal())).not.toBeNull());
    await clock.advance(500);
    times(7, () => expect(book.refuse(refusal())).toBeNull());
    expect(book.refuse({ ...refusal({ bytes: utf8("last") }), count: 3 })).toBeNull();
    // Another's budget is its own.
    expect(book.refuse(refusal({ author: self }))).not.toBeNull();
    await clock.advance(RECEIPT_BOUNDS.windowMs);
    expect(shelf.receipts.at(-1)).toMatchObject({
      count: 10,
      reason: "stale",
      author,
      forwarder,
      txId: "tx",
      firstAtMs: startMs + 500,
      lastAtMs: startMs + 500,
      messageHash: refusedMessageHash(utf8("message")),
    });
    expect(shelf.messages).toBe(31);
    expect(metrics.value("receipts_total", { reason: "stale" })).toBe(31);
    expect(metrics.value("receipts_total", { reason: "quota" })).toBe(0);
    expect(metrics.value("receipts_aggregated_total")).toBe(10);
    expect(book.refuse(refusal())).not.toBeNull();
  });

  it("of what is not authenticated uses up the forwarder's budget, not that of the author it names", () => {
    const { book } = world();
    times(25, () => book.refuse(refusal({ reason: "rate_limited" })));
    expect(book.refuse(refusal({ reason: "rate_limited" }))).toBeNull();
    expect(book.refuse(refusal({ reason: "stale" }))).not.toBeNull();
    expect(book.refuse(refusal({ reason: "stale", author: forwarder }))).not.toBeNull();
    expect(book.refuse(refusal({ reason: "rate_limited", forwarder: self }))).not.toBeNull();
  });

  it("by one of a thousand strangers costs no more signatures than by a hundred", async () => {
    let signed = 0;
    const { book, clock, shelf } = world({
      publicKey: node.signer.publicKey,
      sign: (message) => {
        signed++;
        return node.signer.sign(message);
      },
    });
    const { burst } = RECEIPT_BOUNDS.ownOfStrangers;
    const perStranger = 1_000;
    for (const stranger of strangers)
      for (const reason of ["author_not_trustee", "malformed_envelope"] as const)
        times(perStranger, () => book.refuse(refusal({ reason, forwarder: stranger })));
    expect(signed).toBe(burst);
    // A trustee's refusal is not crowded out.
    expect(book.refuse(refusal())).not.toBeNull();
    await clock.advance(2 * RECEIPT_BOUNDS.windowMs);
    const { strangers: named } = RECEIPT_BOUNDS.namedPerWindow;
    expect(signed).toBe(burst + 1 + named + 2);
    expect(shelf.messages).toBe(strangers.length * 2 * perStranger + 1);
    const rest = shelf.receipts.filter((r) => r.forwarder === null);
    expect(rest.map((r) => r.reason).toSorted()).toEqual([
      "author_not_trustee",
      "malformed_envelope",
    ]);
    // The next window has names again.
    for (const stranger of strangers)
      book.refuse(refusal({ reason: "no_room", forwarder: stranger }));
    const before = shelf.receipts.length;
    await clock.advance(2 * RECEIPT_BOUNDS.windowMs);
    expect(shelf.receipts.slice(before).filter((r) => r.forwarder !== null).length).toBeGreaterThan(
      named,
    );
  });

  it("to a local caller who names no author uses up the node's own budget", () => {
    const { book } = world();
    const local = refusal({ reason: "already_voted", author: null, forwarder: null });
    times(20, () => expect(book.refuse(local)).not.toBeNull());
    expect(book.refuse(refusal({ author: self }))).toBeNull();
    expect(book.refuse(refusal())).not.toBeNull();
  });
});

describe("an aggregated receipt", () => {
  it("names what all its messages have in common, and nothing that only some have", async () => {
    const { book, clock, shelf } = world();
    times(20, () => book.refuse(refusal()));
    book.refuse(refusal({ txId: txIdOf("a"), voter: node.nodeId }));
    book.refuse(refusal({ txId: txIdOf("b"), voter: node.nodeId, forwarder: self }));
    book.refuse(refusal({ txId: txIdOf("a"), voter: node.nodeId }));
    await clock.advance(RECEIPT_BOUNDS.windowMs);
    expect(shelf.receipts.at(-1)).toMatchObject({
      count: 3,
      txId: null,
      voter: node.nodeId,
      author,
      forwarder: null,
    });
    times(20, () => book.refuse(refusal({ reason: "no_room" })));
    book.refuse(refusal({ reason: "no_room", author: self }));
    book.refuse(refusal({ reason: "no_room" }));
    await clock.advance(RECEIPT_BOUNDS.windowMs);
    expect(shelf.receipts.at(-1)).toMatchObject({ count: 2, author: null, forwarder });
  });

  it("keeps first before last when the wall clock jumps back", async () => {
    const { book, clock, shelf } = world();
    times(20, () => book.refuse(refusal()));
    const before = clock.nowMs();
    book.refuse(refusal());
    clock.jump(-5_000);
    book.refuse(refusal());
    await clock.advance(RECEIPT_BOUNDS.windowMs);
    expect(shelf.receipts.at(-1)).toMatchObject({
      count: 2,
      firstAtMs: before - 5_000,
      lastAtMs: before,
    });
  });
});

describe("while the store is away", () => {
  it("nothing is lost and memory is bounded; it is tried less and less often, and said once", async () => {
    const { book, clock, shelf, metrics, logger } = world();
    shelf.fault = () => "before";
    let refused = 0;
    for (let second = 0; second < 300; second++) {
      for (const peer of peers)
        for (const reason of REFUSAL_REASONS) {
          book.refuse(refusal({ reason, author: peer, forwarder: peer }));
          refused++;
        }
      await clock.advance(1_000);
    }
    expect(metrics.value("receipts_unwritten")).toBeLessThan(
      RECEIPT_BOUNDS.unwrittenMax + RECEIPT_BOUNDS.signedPerFlushMax,
    );
    expect(book.recent(10_000).length).toBeGreaterThanOrEqual(
      metrics.value("receipts_unwritten") ?? 0,
    );
    // 1, 2, 4, 8, 16, then every 30 seconds.
    expect(shelf.writes.length).toBeLessThan(20);
    expect(logger.records.filter((r) => r.level === "warn")).toHaveLength(1);
    shelf.fault = () => "none";
    await clock.advance(60_000);
    expect(shelf.messages).toBe(refused);
    expect(metrics.value("receipts_unwritten")).toBe(0);
    expect(logger.records.filter((r) => r.message.includes("again"))).toHaveLength(2);
  });

  it("the last receipts are tried again at the stop, and what can't be written is counted as lost", async () => {
    const { book, clock, shelf, metrics, logger } = world();
    const faults: ("before" | "none")[] = ["before", "none"];
    shelf.fault = () => faults.shift() ?? "none";
    times(25, () => book.refuse(refusal()));
    let stopped = book.stop();
    await clock.advance(1_000);
    await stopped;
    expect(shelf.messages).toBe(25);
    expect(metrics.value("receipts_lost_total")).toBe(0);

    const other = world();
    other.shelf.fault = () => "before";
    times(25, () => other.book.refuse(refusal()));
    stopped = other.book.stop();
    await other.clock.advance(5_000);
    await stopped;
    expect(other.shelf.messages).toBe(0);
    expect(other.metrics.value("receipts_lost_total")).toBe(25);
    expect(logger.records.filter((r) => r.level === "error")).toEqual([]);
    expect(other.logger.records.filter((r) => r.level === "error")).toHaveLength(1);
  });

  it("a refusal after the stop still has its receipt, and is counted as lost", async () => {
    const { book, metrics, shelf } = world();
    await book.stop();
    await book.stop();
    expect(book.refuse(refusal({ reason: "stopped" }))).not.toBeNull();
    times(29, () => book.refuse(refusal({ reason: "stopped" })));
    expect(shelf.messages).toBe(0);
    expect(metrics.value("receipts_lost_total")).toBe(30);
    expect(metrics.value("receipts_total", { reason: "stopped" })).toBe(30);
    expect(metrics.value("receipts_unwritten")).toBe(0);
  });
});

describe("a signer that fails", () => {
  it("costs no refusal its place: it is counted until one signature succeeds", async () => {
    let broken = true;
    const { book, clock, shelf } = world({
      publicKey: node.signer.publicKey,
      sign: (message) => {
        if (broken) throw new Error("no key");
        return node.signer.sign(message);
      },
    });
    times(5, () => expect(book.refuse(refusal())).toBeNull());
    await clock.advance(RECEIPT_BOUNDS.windowMs * 2);
    expect(shelf.messages).toBe(0);
    broken = false;
    await clock.advance(RECEIPT_BOUNDS.windowMs);
    expect(shelf.messages).toBe(5);
  });
});

describe("the counts of all receipts", () => {
  it.each([1, 2, 3, 4, 5, 6])(
    "are the number of refused messages, whatever befalls the store (seed %i)",
    async (seed) => {
      const random = prng(seed);
      const { book, clock, shelf, metrics, end } = world();
      shelf.fault = () => {
        const drawn = random.below(4);
        return drawn === 0 ? "before" : drawn === 1 ? "after" : "none";
      };
      const handed: Receipt[] = [];
      let refused = 0;
      for (let step = 0; step < 60; step++) {
        const flood = random.below(5) === 0 ? 400 : random.below(6);
        for (let i = 0; i < flood; i++) {
          const count = random.below(20) === 0 ? 1 + random.below(5) : 1;
          refused += count;
          const receipt = book.refuse({
            reason: REFUSAL_REASONS[random.below(REFUSAL_REASONS.length)] ?? "stale",
            bytes: random.bytes(8),
            txId: random.below(2) === 0 ? null : txIdOf(`tx-${random.below(5)}`),
            voter: null,
            author: peers[random.below(peers.length + 1)] ?? null,
            forwarder: strangers[random.below(strangers.length)] ?? null,
            count,
          });
          if (receipt !== null) handed.push(receipt);
        }
        if (random.below(30) === 0) clock.jump(random.below(120_000) - 60_000);
        await clock.advance(random.below(2_000));
      }
      if (random.below(2) === 0) end.abort(new Error("the node stops"));
      shelf.fault = () => "none";
      const stopped = book.stop();
      await clock.advance(5_000);
      await stopped;
      expect(shelf.messages).toBe(refused);
      const byReason = REFUSAL_REASONS.map((reason) => metrics.value("receipts_total", { reason }));
      expect(byReason.reduce<number>((sum, n) => sum + (n ?? 0), 0)).toBe(refused);
      expect(metrics.value("receipts_lost_total")).toBe(0);
      for (const receipt of handed) expect(shelf.kept.get(receipt.sequence)).toEqual(receipt);
      // No gap tells that one is missing.
      expect([...shelf.kept.keys()].toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: shelf.kept.size }, (_, i) => i + 1),
      );
      for (const receipt of shelf.receipts.slice(0, 50)) {
        expect(verifyReceipt(receipt, onlySet(cluster.set), cluster.verify).ok).toBe(true);
        expect(receiptFromJson(receiptToJson(receipt)).ok).toBe(true);
      }
    },
  );
});
