/** What stands against a process's work at present, each by its kind, for a person to read. */
export class Problems<Kind extends string> {
  readonly #texts = new Map<Kind, string>();

  /** @param text null when that kind is no trouble now. @returns whether it is news. */
  set(kind: Kind, text: string | null): boolean {
    if (text === null) return this.#texts.delete(kind);
    const news = !this.#texts.has(kind);
    this.#texts.set(kind, text);
    return news;
  }

  has(kind: Kind): boolean {
    return this.#texts.has(kind);
  }

  /** All of them, or null when nothing is known. */
  get text(): string | null {
    return this.#texts.size === 0 ? null : [...this.#texts.values()].join("; ");
  }
}

/** What may keep the sender from its work. */
export type SendingTrouble =
  | "money"
  | "contract"
  | "frozen"
  | "fee-cap"
  | "stuck"
  | "signer"
  | "disagreement";
