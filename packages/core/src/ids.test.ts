import { describe, expect, it } from "vitest";
import {
  parseClusterId,
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parsePeerId,
  parseTxId,
  parseValue,
} from "./ids.ts";

const NOT_TEXTS: readonly unknown[] = [null, undefined, 1, true, [], ["tx"], {}, Symbol("tx")];
/** Texts that an object lookup or an etcd key would take for something else. */
const TRICKS: readonly string[] = [
  "",
  "../st/x",
  "..",
  ".",
  "a/b",
  "//",
  "a\\b",
  "a\0",
  "\0",
  "a\n",
  "a\r\nb",
  " a",
  "a ",
  "\u200Fa",
  "a\u202Eb",
  "\u00e9",
  "e\u0301",
  "\uff41",
  "\ud800",
  "{tx}",
  "a%2Fb",
  "a?b",
  "a#b",
  "__proto__",
  "x".repeat(70_000),
];

/** A title for an input: printable, and short even for a megabyte. */
function named(inputs: readonly unknown[]): [title: string, input: unknown][] {
  return inputs.map((input) => {
    const title = typeof input === "string" ? JSON.stringify(input) : String(input);
    const kind = typeof input === "string" ? "" : `${typeof input} `;
    return [`${kind}${title.length > 40 ? `${title.slice(0, 40)}…` : title}`, input];
  });
}

describe("parseTxId", () => {
  it.each(["a", "0", "tx1", "tx10", "A.b_c:d-e", "constructor", "x".repeat(128)])(
    "accepts %j as it is",
    (text) => {
      expect(parseTxId(text)).toEqual({ ok: true, value: text });
    },
  );

  it.each(named([...TRICKS, "-a", ":a", "_a", "x".repeat(129)]))("refuses %s", (_, text) => {
    expect(parseTxId(text)).toMatchObject({ ok: false, error: { code: "TX_ID_INVALID" } });
  });

  it.each(named(NOT_TEXTS))("refuses what is no text %s", (_, input) => {
    expect(parseTxId(input).ok).toBe(false);
  });

  it("shows only the beginning of a huge id in its message, with what is unprintable escaped", () => {
    const huge = parseTxId(`\n${"x".repeat(70_000)}`);
    expect(!huge.ok && huge.error.message.length < 300).toBe(true);
    expect(!huge.ok && huge.error.message).toContain('"\\nxxx');
    expect(!huge.ok && huge.error.message).toContain("(70001 characters)");
  });
});

describe.each([
  ["parseNodeId", parseNodeId, "NODE_ID_INVALID"],
  ["parseClusterId", parseClusterId, "CLUSTER_ID_INVALID"],
] as const)("%s", (_, parse, code) => {
  it.each(named(["a", "0", "node-1", "a--b", "x".repeat(63)]))("accepts %s", (_, text) => {
    expect(parse(text)).toEqual({ ok: true, value: text });
  });

  it.each(named([...TRICKS, "-a", "a-", "A", "a.b", "a_b", "x".repeat(64)]))(
    "refuses %s",
    (_, text) => {
      expect(parse(text)).toMatchObject({ ok: false, error: { code } });
    },
  );

  it.each(named(NOT_TEXTS))("refuses what is no text %s", (_, input) => {
    expect(parse(input).ok).toBe(false);
  });
});

describe("parsePeerId", () => {
  const good = `12D3KooW${"A".repeat(44)}`;

  it("accepts the text form of an Ed25519 peer id", () => {
    expect(parsePeerId(good)).toEqual({ ok: true, value: good });
  });

  it.each(
    named([
      ...TRICKS,
      good.slice(0, -1),
      `${good}A`,
      good.replace("A", "0"),
      good.replace("A", "O"),
      good.replace("A", "I"),
      good.replace("A", "l"),
      good.toLowerCase(),
      // An RSA peer id: this cluster's keys are all Ed25519.
      "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
    ]),
  )("refuses %s", (_, text) => {
    expect(parsePeerId(text)).toMatchObject({ ok: false, error: { code: "PEER_ID_INVALID" } });
  });
});

describe("parseValue", () => {
  it.each([
    ["0", 0n],
    ["1", 1n],
    [0n, 0n],
    [2n ** 53n + 1n, 2n ** 53n + 1n],
    [2n ** 63n, 2n ** 63n],
    [2n ** 64n - 1n, 2n ** 64n - 1n],
    ["18446744073709551615", 2n ** 64n - 1n],
  ])("accepts %s", (input, value) => {
    expect(parseValue(input)).toEqual({ ok: true, value });
  });

  it.each(
    named([
      -1n,
      2n ** 64n,
      "18446744073709551616",
      "99999999999999999999",
      "-1",
      "-0",
      "+1",
      "01",
      "00",
      "1 ",
      " 1",
      "1\n",
      "1e3",
      "1.0",
      "1n",
      "1_000",
      "0x10",
      "0b1",
      "\uff11",
      "\u0661",
      "NaN",
      "Infinity",
      "",
      "9".repeat(1_000_000),
    ]),
  )("refuses %s", (_, input) => {
    expect(parseValue(input)).toMatchObject({ ok: false, error: { code: "VALUE_INVALID" } });
  });

  it.each(named([1, -0, NaN, 2 ** 53 + 1, 1e3, null, undefined, [], [1n], ["1"], {}, true]))(
    "refuses what may have lost digits or is no text %s",
    (_, input) => {
      expect(parseValue(input).ok).toBe(false);
    },
  );
});

describe("parseEpoch", () => {
  it.each([
    [1, 1],
    ["1", 1],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ])("accepts %s", (input, epoch) => {
    expect(parseEpoch(input)).toEqual({ ok: true, value: epoch });
  });

  it.each(
    named([0, -1, 1.5, NaN, Infinity, 2 ** 53, "0", "01", "9007199254740992", "", null, 1n, [1]]),
  )("refuses %s", (_, input) => {
    expect(parseEpoch(input)).toMatchObject({ ok: false, error: { code: "EPOCH_INVALID" } });
  });
});

describe("parseEvmAddress", () => {
  const upper = `0x${"AbCdEf0123".repeat(4)}`;

  it("accepts any case and lower-cases it, so that one account has one spelling", () => {
    expect(parseEvmAddress(upper)).toEqual({ ok: true, value: upper.toLowerCase() });
  });

  it.each(
    named(["", "0x", upper.slice(2), upper.slice(0, -1), `${upper}0`, upper.replace("A", "g")]),
  )("refuses %s", (_, text) => {
    expect(parseEvmAddress(text)).toMatchObject({ ok: false, error: { code: "ADDRESS_INVALID" } });
  });
});

it("an error shows no character that a terminal could obey", () => {
  const read = parseTxId("\u009b2K\u009b1Gfine\u202e");
  expect(read.ok ? "" : read.error.message).toMatch(/^[ -~…]*$/u);
});
