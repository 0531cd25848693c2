import { parseEpoch, type TxRecord, unwrap } from "@quorate/core";
import { txIdOf, valueOf } from "@quorate/testkit";
import { expect, test } from "vitest";
import { rowsOf } from "./history-rows.ts";

test("history is the same whether a transaction was traced or not", () => {
  const record: TxRecord = {
    epoch: unwrap(parseEpoch(1)),
    policy: "strict-abort",
    profile: "balanced",
    excluded: [],
    openedAtMs: 0,
    deadlineAtMs: 1,
    value: valueOf(7),
    unanimous: true,
    thresholdAtMs: 0,
    reason: null,
    offenders: [],
    absent: null,
    chain: null,
  };
  const traceContext = { traceId: "c".repeat(32), spanId: "d".repeat(16) };
  const rows = (of: TxRecord) =>
    rowsOf(
      { revision: 5n, changes: [{ kind: "record", txId: txIdOf("tx"), record: of }] },
      new Set(),
    );
  expect(rows({ ...record, traceContext })).toEqual(rows(record));
  expect(rows(record)).toMatchObject([{ recordJson: expect.stringContaining('"value":"7"') }]);
});
