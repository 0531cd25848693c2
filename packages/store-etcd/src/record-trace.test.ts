import { type TxRecord, unwrap } from "@quorate/core";
import { expect, test } from "vitest";
import { readRecord, writeRecord } from "./values.ts";

const TEXT =
  '{"epoch":1,"policy":"strict-abort","profile":"balanced","excluded":[],"openedAtMs":1,' +
  '"deadlineAtMs":2,"value":"7","unanimous":false,"thresholdAtMs":null,"reason":null,"offenders":[],' +
  '"absent":null,"chain":null}';
const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const withParent = (parent: unknown): string =>
  JSON.stringify({ ...JSON.parse(TEXT), traceparent: parent });

test("a record holds where its trace goes on as a W3C traceparent", () => {
  const record: TxRecord = unwrap(readRecord(withParent(PARENT)));
  expect(record.traceContext).toEqual({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
  });
  expect(JSON.parse(writeRecord(record))).toEqual(JSON.parse(withParent(PARENT)));
});

test("a record that is not traced has no word of it", () => {
  expect(writeRecord(unwrap(readRecord(TEXT)))).toBe(TEXT);
});

test.each([[null], [5], [""], ["junk"], [{}], [PARENT.replace(/1$/, "0")], ["0".repeat(55)]])(
  "a record is the same without a traceparent as with %o for one",
  (parent) => {
    expect(readRecord(withParent(parent))).toEqual(readRecord(TEXT));
  },
);
