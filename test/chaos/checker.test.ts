import { describe, expect, it } from "vitest";
import {
  type CheckReport,
  DUPLICATE,
  type Findings,
  faultsOf,
  judge,
  keyOf,
  RECORDED,
} from "./checker.ts";

const CLUSTER = "checked";
const REQUEST = {
  clusterId: CLUSTER,
  decided: [
    { txId: "a", value: 1n },
    { txId: "b", value: 2n },
  ],
  foreignHashes: ["0xF0"],
};
const event = (txId: string, value: bigint, tx: string, topic: string = RECORDED) => ({
  topic,
  key: keyOf(CLUSTER, txId),
  value,
  tx,
});

/** Both values in one transaction, and somebody else's transaction before it. */
const GOOD: Findings = {
  logs: [event("a", 1n, "0x01"), event("b", 2n, "0x01")],
  rows: new Map([
    ["a", { state: "FINALIZED", tx: "0x01" }],
    ["b", { state: "FINALIZED", tx: "0x01" }],
  ]),
  statuses: new Map([
    ["a", "CONFIRMED"],
    ["b", "CONFIRMED"],
  ]),
  mined: new Map([
    ["0", "0xf0"],
    ["1", "0x01"],
  ]),
  hidden: new Set(),
  slots: [
    { nonce: "0", state: "FINALIZED_FOREIGN", hashes: ["0x00"] },
    { nonce: "1", state: "FINALIZED_OK", hashes: ["0x01", "0x02"] },
  ],
};

const BAD: readonly (readonly [keyof CheckReport, Partial<Findings>])[] = [
  ["duplicates", { logs: [...GOOD.logs, event("a", 1n, "0x01")] }],
  ["stoppedByContract", { logs: [...GOOD.logs, event("a", 1n, "0x01", DUPLICATE)] }],
  ["wrongValue", { logs: [event("a", 1n, "0x01"), event("b", 3n, "0x01")] }],
  ["foreignKeys", { logs: [...GOOD.logs, event("c", 1n, "0x01")] }],
  ["stuck", { rows: new Map([...GOOD.rows, ["b", { state: "ASSIGNED", tx: null }]]) }],
  ["wrongTransaction", { rows: new Map([...GOOD.rows, ["b", { state: "FINALIZED", tx: "0x2" }]]) }],
  ["unconfirmed", { statuses: new Map([["a", "CONFIRMED"]]) }],
  ["unknownTransactions", { mined: new Map([...GOOD.mined, ["2", "0x03"]]) }],
  [
    "wrongSlots",
    {
      slots: GOOD.slots.map((slot) =>
        slot.nonce === "1" ? { ...slot, state: "FINALIZED_FOREIGN" } : slot,
      ),
    },
  ],
  [
    "wrongSlots",
    {
      slots: GOOD.slots.map((slot) =>
        slot.nonce === "0" ? { ...slot, state: "FINALIZED_OK" } : slot,
      ),
    },
  ],
];

describe("the checker", () => {
  it("finds nothing where every value is there once", () => {
    const report = judge(REQUEST, GOOD);
    expect(faultsOf(report)).toEqual([]);
    expect(report).toMatchObject({ decided: 2, recorded: 2 });
  });

  for (const [law, change] of BAD)
    it(`sees ${law}, and nothing else, in ${Object.keys(change).join()}`, () => {
      const faults = faultsOf(judge(REQUEST, { ...GOOD, ...change }));
      expect(faults.map((fault) => fault.split(":")[0])).toEqual([law]);
    });

  it("sees a value that is not there", () => {
    const report = judge(REQUEST, { ...GOOD, logs: GOOD.logs.slice(0, 1) });
    expect(report).toMatchObject({ missing: ["b"], recorded: 1 });
  });

  it("computes another key for each cluster and transaction", () => {
    expect(keyOf(CLUSTER, "a")).not.toBe(keyOf(CLUSTER, "b"));
    expect(keyOf("other", "a")).not.toBe(keyOf(CLUSTER, "a"));
  });
});
