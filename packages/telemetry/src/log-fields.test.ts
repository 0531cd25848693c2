import { expect, test } from "vitest";
import { TELEMETRY_LIMITS } from "./limits.ts";
import { safeFields } from "./log-fields.ts";

const quiet = { stacks: false };

test("a secret is redacted by its name at any depth, in any spelling", () => {
  for (const name of [
    "key",
    "privateKey",
    "private_key",
    "PRIVATE-KEY",
    "seed",
    "password",
    "pgPassword",
    "secret",
    "clientSecret",
    "token",
    "authToken",
  ]) {
    const line = JSON.stringify(
      safeFields({ [name]: "hush", deep: { list: [{ [name]: "hush" }] } }, quiet),
    );
    expect(line, name).not.toContain("hush");
    expect(line.match(/\[redacted\]/g), name).toHaveLength(2);
  }
});

test("what only looks like a secret is kept", () => {
  const fields = { publicKey: "ab", keys: 3, monkey: "m", keyCount: 1, seed: undefined };
  expect(safeFields(fields, quiet)).toEqual({ publicKey: "ab", keys: 3, monkey: "m", keyCount: 1 });
});

test("a password inside a URL is cut out, in errors too", () => {
  const url = "postgres://quorate:hush@db:5432/quorate";
  const line = JSON.stringify(
    safeFields({ url, error: new Error(`cannot reach ${url}`) }, { stacks: true }),
  );
  expect(line).not.toContain("hush");
  expect(line).toContain("postgres://quorate:[redacted]@db:5432/quorate");
});

test("a password is cut out of a URL that the length bound would cut in two", () => {
  const padding = "x".repeat(TELEMETRY_LIMITS.logStringCharsMax - 22);
  const { url } = safeFields({ url: `${padding} postgres://u:hush-hush@db` }, quiet);
  expect(url).not.toContain("hush");
});

test("an error keeps its code, its fields and its causes", () => {
  const cause = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  const error = Object.assign(new TypeError("no store", { cause }), { code: "UNAVAILABLE" });
  expect(safeFields({ error }, quiet)).toEqual({
    error: {
      type: "TypeError",
      message: "no store",
      code: "UNAVAILABLE",
      cause: { type: "Error", message: "refused", code: "ECONNREFUSED" },
    },
  });
});

test("an aggregate error keeps each of its errors", () => {
  const error = new AggregateError([new Error("one"), new Error("two")], "both");
  expect(JSON.stringify(safeFields({ error }, quiet))).toMatch(/one.*two/);
});

test("a stack is written only when asked for", () => {
  const error = new Error("outer", { cause: new Error("inner") });
  expect(JSON.stringify(safeFields({ error }, quiet))).not.toContain("log-fields.test");
  const stacked = JSON.stringify(safeFields({ error }, { stacks: true }));
  expect(stacked.match(/"stack"/g)).toHaveLength(2);
});

test("values that JSON does not know are still written", () => {
  const fields = safeFields(
    {
      value: 2n ** 64n - 1n,
      frame: new Uint8Array([1, 2, 3]),
      at: new Date(0),
      rate: Number.NaN,
      peers: new Set(["a"]),
      counts: new Map([["a", 1n]]),
    },
    quiet,
  );
  expect(fields).toEqual({
    value: "18446744073709551615",
    frame: "[3 bytes]",
    at: "1970-01-01T00:00:00.000Z",
    rate: "NaN",
    peers: ["a"],
    counts: { a: "1" },
  });
});

test("a field cannot overwrite the line's own level, time and message", () => {
  const fields = { level: "x", time: 1, msg: "y" };
  expect(safeFields(fields, quiet)).toEqual({ level_: "x", time_: 1, msg_: "y" });
});

test("a circular, endless or throwing value ends in a bounded line", () => {
  const loop: Record<string, unknown> = {};
  loop["loop"] = loop;
  expect(JSON.stringify(safeFields({ loop }, quiet))).toContain("[too deep]");
  const many = Array.from({ length: 100_000 }, (_, index) => index);
  expect(JSON.stringify(safeFields({ many, more: many }, quiet)).length).toBeLessThan(5_000);
  const wide = Object.fromEntries(many.map((index) => [`f${index}`, index]));
  expect(JSON.stringify(safeFields({ wide }, quiet)).length).toBeLessThan(20_000);
  expect(JSON.stringify(safeFields({ text: "x".repeat(1e6) }, quiet)).length).toBeLessThan(9_000);
  const hostile = {
    get trap(): never {
      throw new Error("trap");
    },
  };
  expect(safeFields({ hostile }, quiet)).toEqual({ fieldsUnreadable: true });
});
