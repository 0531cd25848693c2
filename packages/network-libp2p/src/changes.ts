import type { AbortOptions } from "@quorate/ports";

/** Lets callers wait until something is so, looking again only when told of a change. */
export class Changes {
  readonly #checks = new Set<() => void>();

  /** Something may have become so. */
  notify(): void {
    for (const check of this.#checks) check();
  }

  /** Resolves once `condition` holds; rejects when it throws, or with the signal's reason when aborted. */
  until(condition: () => boolean, options?: AbortOptions): Promise<void> {
    const signal = options?.signal;
    return new Promise((resolve, reject) => {
      const settle = (how: () => void): void => {
        this.#checks.delete(check);
        signal?.removeEventListener("abort", check);
        how();
      };
      const check = (): void => {
        if (signal?.aborted === true) return settle(() => reject(signal.reason));
        try {
          if (condition()) settle(resolve);
        } catch (error) {
          settle(() => reject(error));
        }
      };
      this.#checks.add(check);
      signal?.addEventListener("abort", check, { once: true });
      check();
    });
  }
}
