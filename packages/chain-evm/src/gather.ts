import type { Clock } from "@quorate/ports";

/**
 * All results, in the order they came in; or those that are there `graceMs` after they were enough, so that
 * a slow or dead endpoint costs no more than that. Rejects as soon as one rejects.
 */
export function gather<T>(
  asked: readonly Promise<T>[],
  rule: { readonly enough: (there: readonly T[]) => boolean; readonly graceMs: number },
  { clock }: { readonly clock: Clock },
): Promise<readonly T[]> {
  if (asked.length === 0) return Promise.resolve([]);
  return new Promise((resolve, reject) => {
    const there: T[] = [];
    let endGrace: (() => void) | null = null;
    const fail = (reason: unknown): void => {
      endGrace?.();
      reject(reason);
    };
    for (const one of asked) {
      one.then((result) => {
        there.push(result);
        if (there.length === asked.length) {
          endGrace?.();
          resolve(there);
        } else if (endGrace === null && rule.enough(there)) {
          endGrace = clock.schedule(rule.graceMs, () => resolve([...there]));
        }
      }, fail);
    }
  });
}
