import { createHash } from "node:crypto";

/** What happened, in order, each line at a virtual time. Two runs of one seed have the same lines to the byte. */
export class Trace {
  readonly #hash = createHash("sha256");
  readonly #keep: number;
  readonly #nowMs: () => number;
  readonly #listener: ((line: string) => void) | null;
  #lines: string[] = [];
  #count = 0;

  /** @param keep how many of the newest lines stay readable */
  constructor(
    nowMs: () => number,
    {
      keep = 0,
      listener = null,
    }: { readonly keep?: number; readonly listener?: ((line: string) => void) | null } = {},
  ) {
    this.#nowMs = nowMs;
    this.#keep = keep;
    this.#listener = listener;
  }

  note(text: string): void {
    const line = `${this.#nowMs().toFixed(3).padStart(11)} ${text}`;
    this.#count++;
    this.#hash.update(line).update("\n");
    this.#listener?.(line);
    if (this.#keep === 0) return;
    this.#lines.push(line);
    if (this.#lines.length > 2 * this.#keep) this.#lines = this.#lines.slice(-this.#keep);
  }

  get count(): number {
    return this.#count;
  }

  /** The newest lines. */
  get tail(): readonly string[] {
    return this.#lines.slice(-this.#keep);
  }

  /** Over all lines; only once, at the end. */
  digest(): string {
    return this.#hash.digest("hex");
  }
}
