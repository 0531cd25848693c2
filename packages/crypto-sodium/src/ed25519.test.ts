import { createHash } from "node:crypto";
import { concatBytes, hexToBytes } from "@quorate/core";
import { describe, expect, it } from "vitest";
import { createEd25519 } from "./ed25519.ts";
import { createVoteSigner, generateSeed } from "./vote-signer.ts";

/** RFC 8032 §7.1: seed, public key, message, signature. */
const RFC8032 = [
  {
    name: "TEST 1 (empty message)",
    seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    publicKey: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    message: "",
    signature:
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  },
  {
    name: "TEST 2 (one byte)",
    seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    publicKey: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    message: "72",
    signature:
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  },
  {
    name: "TEST 3 (two bytes)",
    seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    publicKey: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    message: "af82",
    signature:
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  },
  {
    name: "TEST SHA(abc)",
    seed: "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    publicKey: "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
    message:
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    signature:
      "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
  },
] as const;

/** The order of the group, L = 2^252 + 27742317777372353535851937790883648493. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;

/** The eight points of small order, plus the non-canonical spellings of two of them. */
const SMALL_ORDER_KEYS = [
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
] as const;

const ed25519 = createEd25519();

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function toLittleEndian(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

describe("Ed25519 on libsodium", () => {
  it.each(RFC8032)("signs and verifies RFC 8032 $name", (vector) => {
    const message = hexToBytes(vector.message);
    const signer = createVoteSigner(hexToBytes(vector.seed));
    expect(signer.publicKey).toEqual(hexToBytes(vector.publicKey));
    expect(signer.sign(message)).toEqual(hexToBytes(vector.signature));
    expect(ed25519.verify(signer.publicKey, message, hexToBytes(vector.signature))).toBe(true);
  });

  it("refuses a signature over another message, by another key, or with any byte changed", () => {
    const signer = createVoteSigner(generateSeed());
    const message = Uint8Array.of(1, 2, 3);
    const signature = signer.sign(message);
    expect(ed25519.verify(signer.publicKey, Uint8Array.of(1, 2, 4), signature)).toBe(false);
    expect(ed25519.verify(createVoteSigner(generateSeed()).publicKey, message, signature)).toBe(
      false,
    );
    for (let i = 0; i < signature.length; i++) {
      const changed = signature.map((byte, at) => (at === i ? byte ^ 1 : byte));
      expect(ed25519.verify(signer.publicKey, message, changed), `byte ${i}`).toBe(false);
    }
  });

  it("refuses S + L, the second spelling of a valid signature", () => {
    for (const vector of RFC8032) {
      const signature = hexToBytes(vector.signature);
      const malleated = concatBytes(
        signature.subarray(0, 32),
        toLittleEndian(littleEndian(signature.subarray(32)) + L),
      );
      expect(
        ed25519.verify(hexToBytes(vector.publicKey), hexToBytes(vector.message), malleated),
      ).toBe(false);
    }
  });

  it("refuses every public key of small order, under which one signature would fit any message", () => {
    // R = identity and S = 0 satisfy the equation for the identity key and any message.
    const forged = new Uint8Array(64);
    forged[0] = 1;
    for (const key of SMALL_ORDER_KEYS)
      for (let i = 0; i < 16; i++)
        expect(ed25519.verify(hexToBytes(key), Uint8Array.of(i), forged), `${key} ${i}`).toBe(
          false,
        );
  });

  it("refuses an R of small order, though its owner made the equation hold", () => {
    const seed = generateSeed();
    const { publicKey } = createVoteSigner(seed);
    const message = Uint8Array.of(42);
    const expanded = createHash("sha512").update(seed).digest();
    const clamped = littleEndian(expanded.subarray(0, 32)) & ~7n & (2n ** 255n - 1n);
    const secretScalar = (clamped % 2n ** 254n) | (1n << 254n);
    const identity = new Uint8Array(32);
    identity[0] = 1;
    const challenge = createHash("sha512").update(identity).update(publicKey).update(message);
    const s = (littleEndian(challenge.digest()) * secretScalar) % L;
    const signature = concatBytes(identity, toLittleEndian(s));
    expect(ed25519.verify(publicKey, message, signature)).toBe(false);
  });

  it("calls a key or signature of a wrong length invalid and never throws", () => {
    const signer = createVoteSigner(generateSeed());
    const message = Uint8Array.of(7);
    const signature = signer.sign(message);
    for (const length of [0, 1, 31, 33, 64])
      expect(ed25519.verify(new Uint8Array(length), message, signature)).toBe(false);
    for (const length of [0, 1, 32, 63, 65, 128])
      expect(ed25519.verify(signer.publicKey, message, new Uint8Array(length))).toBe(false);
  });

  it("verifies bytes that are a window on a larger buffer", () => {
    const signer = createVoteSigner(generateSeed());
    const message = Uint8Array.of(9, 9, 9);
    const all = Buffer.concat([signer.publicKey, message, signer.sign(message)]);
    expect(ed25519.verify(all.subarray(0, 32), all.subarray(32, 35), all.subarray(35))).toBe(true);
  });
});

describe("vote signer", () => {
  it("refuses a seed of another length than 32 bytes", () => {
    for (const length of [0, 31, 33, 64])
      expect(() => createVoteSigner(new Uint8Array(length))).toThrow("32 bytes");
  });

  it("keeps its key when the caller wipes the seed or writes into the public key", () => {
    const seed = generateSeed();
    const signer = createVoteSigner(seed);
    const publicKey = signer.publicKey;
    const before = signer.sign(Uint8Array.of(1));
    seed.fill(0);
    signer.publicKey.fill(0);
    expect(signer.publicKey).toEqual(publicKey);
    expect(signer.sign(Uint8Array.of(1))).toEqual(before);
  });

  it("takes a seed's bytes from the random source it is given, else from the system", () => {
    const asked: number[] = [];
    const random = {
      next: () => 0,
      bytes: (length: number) => {
        asked.push(length);
        return new Uint8Array(length).fill(5);
      },
    };
    expect(generateSeed(random)).toEqual(new Uint8Array(32).fill(5));
    expect(asked).toEqual([32]);
    expect(generateSeed()).not.toEqual(generateSeed());
  });
});
