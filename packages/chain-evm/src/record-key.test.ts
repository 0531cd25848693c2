import { type ClusterId, parseClusterId, parseTxId, type TxId, unwrap } from "@quorate/core";
import { keccak256, stringToHex } from "viem";
import { describe, expect, test } from "vitest";

import { RECORD_DOMAIN, recordKeyOf } from "./record-key.ts";

const cluster = (text: string): ClusterId => unwrap(parseClusterId(text));
const tx = (text: string): TxId => unwrap(parseTxId(text));

const word = (value: number): string => value.toString(16).padStart(64, "0");
const padded = (text: string): string => {
  const hex = Buffer.from(text, "utf8").toString("hex");
  return hex.padEnd(Math.ceil(hex.length / 64) * 64, "0");
};

describe("the record key", () => {
  test("is the hash of the ABI encoding of (domain, cluster, transaction)", () => {
    // Written out by hand, as any other program would have to do it.
    const preimage = `${RECORD_DOMAIN.slice(2)}${word(96)}${word(160)}${word(6)}${padded("prod-1")}${word(4)}${padded("tx_1")}`;
    expect(recordKeyOf(cluster("prod-1"), tx("tx_1"))).toBe(keccak256(`0x${preimage}`));
  });

  test("holds for ids longer than one word", () => {
    const long = "t".repeat(128);
    const preimage = `${RECORD_DOMAIN.slice(2)}${word(96)}${word(160)}${word(1)}${padded("c")}${word(128)}${padded(long)}`;
    expect(recordKeyOf(cluster("c"), tx(long))).toBe(keccak256(`0x${preimage}`));
  });

  test("stays what it was: a change would record every old transaction anew", () => {
    expect(RECORD_DOMAIN).toBe(keccak256(stringToHex("quorate/record/v1")));
    expect(recordKeyOf(cluster("quorate"), tx("tx-1"))).toMatchInlineSnapshot(
      `"0xf6bc68900d9e5da0fa0338ae4957cf1bdae4e57c94fb469b69978de90cc0cbb7"`,
    );
  });

  test("does not depend on where the cluster's name ends and the transaction's begins", () => {
    expect(recordKeyOf(cluster("ab"), tx("c"))).not.toBe(recordKeyOf(cluster("a"), tx("bc")));
  });
});
