import { StoreError } from "@quorate/ports";
import { expect, test } from "vitest";

import { toStoreError } from "./store-error.ts";

function withCode(code: string): Error {
  return Object.assign(new Error("as the server says"), { code });
}

test.each([
  ["08006", "UNAVAILABLE", true],
  ["57P01", "UNAVAILABLE", true],
  ["40P01", "UNAVAILABLE", true],
  ["53300", "UNAVAILABLE", true],
  ["25006", "UNAVAILABLE", true],
  ["57014", "TIMEOUT", true],
  ["55P03", "TIMEOUT", true],
  ["42P01", "SCHEMA", false],
  ["42501", "REFUSED", false],
  ["3F000", "SCHEMA", false],
  ["23505", "REFUSED", false],
  ["28P01", "REFUSED", false],
  ["QU001", "REFUSED", false],
  ["QU002", "REFUSED", false],
  ["XX001", "CORRUPT", false],
  ["ECONNREFUSED", "UNAVAILABLE", true],
  ["ETIMEDOUT", "TIMEOUT", true],
  ["99999", "REFUSED", false],
] as const)("code %s means %s, retryable %s", (code, meaning, retryable) => {
  const cause = withCode(code);
  const error = toStoreError(cause, "enqueueing");
  expect(error).toMatchObject({ code: meaning, retryable, cause });
  expect(error.message).toBe("enqueueing: as the server says");
});

test.each([
  ["Connection terminated unexpectedly", "UNAVAILABLE", true],
  ["timeout exceeded when trying to connect", "TIMEOUT", true],
  ["Query read timeout", "TIMEOUT", true],
  ["Cannot use a pool after calling end on the pool", "UNAVAILABLE", false],
  ["a text nobody has seen", "REFUSED", false],
] as const)("text %j means %s, retryable %s", (text, code, retryable) => {
  expect(toStoreError(new Error(text), "x")).toMatchObject({ code, retryable });
});

test("when every address of a host refuses, the first one tells", () => {
  const error = new AggregateError([withCode("ECONNREFUSED"), withCode("EACCES")]);
  expect(toStoreError(error, "x")).toMatchObject({ code: "UNAVAILABLE", retryable: true });
});

test("what is a StoreError already stays as it is", () => {
  const error = new StoreError("CORRUPT", "as it was", { retryable: false });
  expect(toStoreError(error, "x")).toBe(error);
});
