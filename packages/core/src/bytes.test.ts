import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesToHex, equalBytes, fromBase64, hash, toBase58, toBase64, utf8 } from "./bytes.ts";

const bytes = fc.uint8Array({ maxLength: 200 });

describe("base64", () => {
  it.each([
    ["", ""],
    ["f", "Zg=="],
    ["fo", "Zm8="],
    ["foo", "Zm9v"],
    ["foob", "Zm9vYg=="],
    ["fooba", "Zm9vYmE="],
    ["foobar", "Zm9vYmFy"],
  ])("agrees with RFC 4648 on %j", (text, encoded) => {
    expect(toBase64(utf8(text))).toBe(encoded);
    expect(fromBase64(encoded)).toEqual(utf8(text));
  });

  it("reads back what it wrote", () => {
    fc.assert(
      fc.property(bytes, (input) => {
        expect(fromBase64(toBase64(input))).toEqual(input);
      }),
    );
  });

  it("has one text for each byte string: what decodes, encodes to the same text", () => {
    const texts = fc
      .array(fc.constantFrom("A", "B", "Q", "g", "w", "/", "+", "=", "-", "_", " ", "\n"), {
        maxLength: 8,
      })
      .map((chars) => chars.join(""));
    fc.assert(
      fc.property(texts, (text) => {
        const decoded = fromBase64(text);
        if (decoded !== null) expect(toBase64(decoded)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each(["Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm_v", "Zm9\u0176"])(
    "refuses %j",
    (text) => {
      expect(fromBase64(text)).toBeNull();
    },
  );
});

describe("toBase58", () => {
  it.each([
    [[], ""],
    [[0], "1"],
    [[0, 0, 1], "112"],
    [[0x61], "2g"],
    [[0x62, 0x62, 0x62], "a3gV"],
    [[0x51, 0x6b, 0x6f, 0xcd, 0x0f], "ABnLTmg"],
    [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "1111111111"],
  ])("agrees with the Bitcoin vectors on %j", (input, text) => {
    expect(toBase58(Uint8Array.from(input))).toBe(text);
  });
});

describe("hash", () => {
  it("is BLAKE3-256 of the joined parts", () => {
    expect(bytesToHex(hash())).toBe(
      "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    );
    expect(bytesToHex(hash(utf8("abc")))).toBe(
      "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    );
    expect(hash(utf8("a"), utf8("bc"))).toEqual(hash(utf8("abc")));
  });
});

describe("equalBytes", () => {
  it("is true for equal content only", () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        expect(equalBytes(a, b)).toBe(bytesToHex(a) === bytesToHex(b));
        expect(equalBytes(a, Uint8Array.from(a))).toBe(true);
      }),
    );
  });
});
