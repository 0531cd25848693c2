/** A place in a rank's queue. */
interface Place<Item> {
  readonly item: Item;
  /** When it comes to be looked at; the item itself may have been put off since. */
  readonly dueMs: number;
}

/**
 * What is due when, one queue a rank: within a rank items come due in the order in which they came,
 * so that finding the next is cheap. An item may stand in several places; whoever takes says which of them still count.
 */
export class DueQueue<Item extends { readonly rank: number; readonly dueMs: number }> {
  readonly #ranks: Place<Item>[][] = [];
  readonly #urgent: Item[] = [];

  /** Puts an item at the end of its rank. */
  push(item: Item): void {
    while (this.#ranks.length <= item.rank) this.#ranks.push([]);
    this.#ranks[item.rank]?.push({ item, dueMs: item.dueMs });
  }

  /** Puts an item before all others of the first rank: its time has come by a timer of its own. */
  pushFirst(item: Item, dueMs: number): void {
    this.#ranks[0] ??= [];
    this.#ranks[0].unshift({ item, dueMs });
  }

  /** Puts an item that waits for nothing more. */
  pushUrgent(item: Item): void {
    this.#urgent.push(item);
  }

  /** Takes what is due and accepted, at most `max`. @param accept whether the item still waits; asked once for each place */
  take(nowMs: number, max: number, accept: (item: Item) => boolean): Item[] {
    const batch: Item[] = [];
    while (batch.length < max) {
      const item = this.#urgent.shift();
      if (item === undefined) break;
      if (accept(item)) batch.push(item);
    }
    for (const queue of this.#ranks) {
      let taken = 0;
      for (const { item, dueMs } of queue) {
        if (batch.length >= max || dueMs > nowMs) break;
        taken++;
        // Back to its own rank: put off in the owner's queue it would hold up what is due there.
        if (item.dueMs > nowMs) this.push(item);
        else if (accept(item)) batch.push(item);
      }
      if (taken > 0) queue.splice(0, taken);
    }
    return batch;
  }

  /** When the next place comes to be looked at, by the clock that `dueMs` is of; infinite when there is none. */
  nextMs(): number {
    if (this.#urgent.length > 0) return Number.NEGATIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const queue of this.#ranks) next = Math.min(next, queue[0]?.dueMs ?? next);
    return next;
  }
}
