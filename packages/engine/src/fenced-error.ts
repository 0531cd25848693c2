/** Another process leads now. This one must stop; it has changed nothing. */
export class FencedError extends Error {
  override readonly name = "FencedError";
  constructor() {
    super("another submitter has taken over; this one stops");
  }
}

/** @throws FencedError when a write was refused because another process leads. */
export function throwIfFenced(outcome: "done" | "fenced"): void {
  if (outcome === "fenced") throw new FencedError();
}
