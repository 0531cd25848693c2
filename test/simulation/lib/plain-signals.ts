/**
 * Node keeps every `AbortSignal.any` that has a listener alive for as long as the process lives, which is right for a
 * server and fills a simulator's memory: each seed leaves hundreds of processes that never end properly. This one is
 * held by its sources alone, and so goes with them.
 */
export function usePlainSignals(): () => void {
  const original = Reflect.get(AbortSignal, "any") as typeof AbortSignal.any;
  AbortSignal.any = (signals) => {
    const controller = new AbortController();
    const sources = [...signals];
    const over = sources.find((signal) => signal.aborted);
    if (over !== undefined) {
      controller.abort(over.reason);
      return controller.signal;
    }
    const end = (event: Event): void => {
      for (const source of sources) source.removeEventListener("abort", end);
      const { target } = event;
      controller.abort(target instanceof AbortSignal ? target.reason : undefined);
    };
    for (const source of sources) source.addEventListener("abort", end, { once: true });
    return controller.signal;
  };
  return () => {
    AbortSignal.any = original;
  };
}
