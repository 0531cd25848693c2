import { type Call, wasBefore } from "./read-runs.ts";

/** Something that is to be put in order. */
export interface Event {
  readonly call: Call;
  /** The leader epoch under which it was done; null when it takes none. */
  readonly lease: bigint | null;
  /** Events that it rests on: it comes after them, unless clocks say that it can't have. */
  readonly restsOn: readonly Event[];
}

/**
 * An order that every clock, every epoch and every cause allows. What is known to have been over before something else
 * began comes first, always. Of two things at the same time the one under the lower epoch comes first (a higher epoch was
 * given only when the lower one's transactions were over), then what the other rests on, then what began first. A thing
 * that began under an epoch after a higher one was known to be given stays behind it, where the model will refuse it.
 */
export function inOrder<E extends Event>(events: readonly E[]): readonly E[] {
  const left = new Set<E>(events);
  const ordered: E[] = [];
  const precedes = (a: E, b: E): boolean => {
    if (a === b) return false;
    if (wasBefore(a.call, b.call)) return true;
    if (wasBefore(b.call, a.call)) return false;
    if (a.lease !== null && b.lease !== null && a.lease !== b.lease) return a.lease < b.lease;
    return b.restsOn.some((cause) => cause === a);
  };
  while (left.size > 0) {
    const waiting = [...left];
    const free = waiting.filter((b) => !waiting.some((a) => precedes(a, b)));
    // Causes and epochs can contradict each other only where something is wrong; then clocks alone decide.
    const next = (free.length > 0 ? free : waiting).reduce((a, b) =>
      b.call.beganAt < a.call.beganAt ? b : a,
    );
    left.delete(next);
    ordered.push(next);
  }
  return ordered;
}
