import type { MetricsFactory } from "@quorate/ports";

/** Metrics that nobody reads: long simulations would only fill memory with them. */
export const quietMetrics: MetricsFactory = {
  counter: () => ({ inc: () => {} }),
  gauge: () => ({ set: () => {} }),
  histogram: () => ({ observe: () => {} }),
};
