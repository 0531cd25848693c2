/** What is due when; of two timers due together the one that was armed first comes first. */
export interface HeapTimer {
  readonly dueMs: number;
  readonly order: number;
  readonly fire: () => void;
}

interface Entry extends HeapTimer {
  cancelled: boolean;
}

const before = (a: Entry, b: Entry): boolean =>
  a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);

/** A binary heap, for a simulated minute has tens of thousands of timers. A cancelled one stays until it comes up. */
export class TimerHeap {
  readonly #heap: Entry[] = [];
  #live = 0;
  #armed = 0;

  get size(): number {
    return this.#live;
  }

  get first(): HeapTimer | null {
    while (this.#heap[0]?.cancelled === true) this.#pop();
    return this.#heap[0] ?? null;
  }

  /** @returns cancels it */
  add(dueMs: number, fire: () => void): () => void {
    const entry: Entry = { dueMs, order: this.#armed++, fire, cancelled: false };
    this.#live++;
    this.#push(entry);
    return () => {
      if (entry.cancelled) return;
      entry.cancelled = true;
      this.#live--;
    };
  }

  /** Takes the first one that is due; null when none is. */
  takeDue(untilMs: number): HeapTimer | null {
    const first = this.first;
    if (first === null || first.dueMs > untilMs) return null;
    const entry = this.#pop();
    // Cancelling it from now on is nothing any more.
    entry.cancelled = true;
    this.#live--;
    return entry;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Entry;
      if (!before(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): Entry {
    const heap = this.#heap;
    const top = heap[0] as Entry;
    const last = heap.pop() as Entry;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const smaller =
        right < heap.length && before(heap[right] as Entry, heap[left] as Entry) ? right : left;
      if (!before(heap[smaller] as Entry, last)) break;
      heap[at] = heap[smaller] as Entry;
      at = smaller;
    }
    heap[at] = last;
    return top;
  }
}
