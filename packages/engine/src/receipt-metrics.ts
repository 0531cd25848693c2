import { REFUSAL_REASONS } from "@quorate/core";
import type { Counter, MetricsFactory } from "@quorate/ports";

export interface ReceiptMetrics {
  readonly issued: Counter<"reason">;
  readonly aggregated: Counter;
  readonly lost: Counter;
}

/** @param unwritten receipts that wait at present */
export function receiptMetrics(factory: MetricsFactory, unwritten: () => number): ReceiptMetrics {
  factory.gauge({
    name: "receipts_unwritten",
    help: "Signed receipts that are not in the store yet.",
    collect: unwritten,
  });
  return {
    issued: factory.counter({
      name: "receipts_total",
      help: "Refused messages, by reason; each is in a receipt.",
      labels: ["reason"],
      initial: REFUSAL_REASONS.map((reason) => ({ reason })),
    }),
    aggregated: factory.counter({
      name: "receipts_aggregated_total",
      help: "Refused messages that were counted into a receipt with others.",
      initial: [{}],
    }),
    lost: factory.counter({
      name: "receipts_lost_total",
      help: "Refused messages whose receipt could not be written before this process ended.",
      initial: [{}],
    }),
  };
}
