import {
  createCipheriv,
  createDecipheriv,
  pbkdf2,
  randomBytes,
  randomUUID,
  scrypt,
  timingSafeEqual,
} from "node:crypto";
import { promisify } from "node:util";

import type { AbortOptions, Hex } from "@quorate/ports";
import { bytesToHex, hexToBytes, keccak256 } from "viem";
import { isRecord } from "./json-rpc.ts";
import { KeyError } from "./key-error.ts";
import { readSecretFile } from "./key-file.ts";
import { toAccount } from "./local-signer.ts";

// The encrypted JSON keystore that geth, besu, foundry and others write ("Web3 Secret Storage",
// version 3). Written on node:crypto: the format is four of its primitives and a keccak, while the
// libraries for it derive keys in JavaScript, bring packages of their own, and bound no parameter.

const KEYSTORE_BYTES_MAX = 16_384;
const PASSWORD_BYTES_MAX = 1_024;

// geth's own choice: 256 MiB and about a second.
const SCRYPT_N = 2 ** 18;
const SCRYPT_R = 8;
const SCRYPT_P = 1;
// Twice geth's memory (128 × n × r bytes) and four times its work. A file that asks for more comes
// from nobody who means well: the derivation would hang the process or take the machine's memory.
const SCRYPT_NR_MAX = 2 ** 22;
const SCRYPT_NRP_MAX = 2 ** 23;
// 40 times what is usual; a few seconds.
const PBKDF2_ROUNDS_MAX = 10_000_000;
const DERIVED_BYTES_MAX = 64;
const SALT_BYTES_MAX = 256;

const KEY_BYTES = 32;
const KEY_BYTES_MIN = 28;
const CIPHER = "aes-128-ctr";
const CIPHER_KEY_BYTES = 16;

const deriveByPbkdf2 = promisify(pbkdf2);

interface Sealed {
  readonly address: string | null;
  readonly iv: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly mac: Uint8Array;
  readonly kdf: Kdf;
}

type Kdf =
  | {
      readonly kind: "scrypt";
      readonly salt: Uint8Array;
      readonly sizeBytes: number;
      readonly n: number;
      readonly r: number;
      readonly p: number;
    }
  | {
      readonly kind: "pbkdf2";
      readonly salt: Uint8Array;
      readonly sizeBytes: number;
      readonly rounds: number;
    };

/**
 * Seals a private key under a password, as a version 3 keystore with scrypt. Takes about a second.
 * @param work `scryptN`, a power of two: less is for tests alone.
 * @returns the file's text.
 * @throws KeyError KEY_INVALID for what is no key, KEYSTORE_PASSWORD_WRONG for an empty password.
 */
export async function encryptKeystore(
  privateKey: string,
  password: string,
  work: { readonly scryptN?: number } = {},
): Promise<string> {
  const account = toAccount(privateKey);
  if (password === "")
    throw new KeyError("KEYSTORE_PASSWORD_WRONG", "a keystore's password must not be empty");
  const key = hexToBytes(`0x${privateKey.replace(/^0x/i, "")}`);
  const n = work.scryptN ?? SCRYPT_N;
  const [salt, iv] = [randomBytes(32), randomBytes(16)];
  const kdf: Kdf = { kind: "scrypt", salt, sizeBytes: 32, n, r: SCRYPT_R, p: SCRYPT_P };
  const derived = await derive(kdf, password);
  const cipher = createCipheriv(CIPHER, derived.subarray(0, CIPHER_KEY_BYTES), iv);
  const ciphertext = Buffer.concat([cipher.update(key), cipher.final()]);
  const mac = macOf(derived, ciphertext);
  derived.fill(0);
  key.fill(0);
  const file = {
    version: 3,
    id: randomUUID(),
    address: account.address.slice(2).toLowerCase(),
    crypto: {
      cipher: CIPHER,
      cipherparams: { iv: iv.toString("hex") },
      ciphertext: ciphertext.toString("hex"),
      kdf: "scrypt",
      kdfparams: { dklen: 32, n, r: SCRYPT_R, p: SCRYPT_P, salt: salt.toString("hex") },
      mac: Buffer.from(mac).toString("hex"),
    },
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

/**
 * Opens a version 3 keystore (scrypt or pbkdf2).
 * @throws KeyError KEYSTORE_*; none holds the key or the password.
 */
export async function decryptKeystore(text: string, password: string): Promise<Hex> {
  const sealed = parseKeystore(text);
  const derived = await derive(sealed.kdf, password);
  if (!timingSafeEqual(macOf(derived, sealed.ciphertext), sealed.mac)) {
    throw new KeyError(
      "KEYSTORE_PASSWORD_WRONG",
      "the keystore does not open: the password is another one, or the file was changed",
    );
  }
  const decipher = createDecipheriv(CIPHER, derived.subarray(0, CIPHER_KEY_BYTES), sealed.iv);
  const key = Buffer.concat([decipher.update(sealed.ciphertext), decipher.final()]);
  const privateKey = bytesToHex(Buffer.concat([Buffer.alloc(KEY_BYTES - key.length), key]));
  derived.fill(0);
  key.fill(0);
  const address = toAccount(privateKey).address.slice(2).toLowerCase();
  if (sealed.address !== null && sealed.address !== address) {
    throw new KeyError(
      "KEYSTORE_ADDRESS_MISMATCH",
      `the keystore names the account 0x${sealed.address}, but the key in it is that of 0x${address}`,
    );
  }
  return privateKey;
}

/**
 * Opens a keystore file with the password from another file (its final line end is not part of it).
 * Both must be readable by their owner alone.
 * @throws KeyError KEY_FILE_*, KEY_INVALID or KEYSTORE_*; none holds the key or the password.
 */
export async function loadKeystore(
  paths: { readonly file: string; readonly passwordFile: string },
  options: AbortOptions = {},
): Promise<Hex> {
  const text = await readSecretFile(
    paths.file,
    { what: "keystore", bytesMax: KEYSTORE_BYTES_MAX, holds: "one key" },
    options,
  );
  const password = await readSecretFile(
    paths.passwordFile,
    { what: "password file", bytesMax: PASSWORD_BYTES_MAX, holds: "one password" },
    options,
  );
  return await decryptKeystore(text, password.replace(/\r?\n$/, ""));
}

function parseKeystore(text: string): Sealed {
  const file = parseJson(text);
  // Old files of geth write Crypto.
  const crypto = isRecord(file) ? (file["crypto"] ?? file["Crypto"]) : null;
  if (!isRecord(file) || !isRecord(crypto)) throw invalid("it has no crypto object");
  if (file["version"] !== 3)
    throw new KeyError("KEYSTORE_UNSUPPORTED", "the keystore is not of version 3");
  if (crypto["cipher"] !== CIPHER)
    throw new KeyError("KEYSTORE_UNSUPPORTED", `the keystore's cipher is not ${CIPHER}`);
  const cipherparams = crypto["cipherparams"];
  const { address } = file;
  if (
    address !== undefined &&
    !(typeof address === "string" && /^(0x)?[0-9a-f]{40}$/i.test(address))
  )
    throw invalid("its address is none");
  return {
    address: typeof address === "string" ? address.toLowerCase().replace(/^0x/, "") : null,
    iv: bytesOf(isRecord(cipherparams) ? cipherparams["iv"] : null, 16, 16, "iv"),
    // Some early clients left out a key's leading zeros.
    ciphertext: bytesOf(crypto["ciphertext"], KEY_BYTES_MIN, KEY_BYTES, "ciphertext"),
    mac: bytesOf(crypto["mac"], 32, 32, "mac"),
    kdf: parseKdf(crypto["kdf"], crypto["kdfparams"]),
  };
}

function parseKdf(kind: unknown, params: unknown): Kdf {
  if (!isRecord(params)) throw invalid("it has no kdfparams");
  const salt = bytesOf(params["salt"], 1, SALT_BYTES_MAX, "salt");
  const sizeBytes = countOf(params["dklen"], "dklen");
  if (sizeBytes < 32 || sizeBytes > DERIVED_BYTES_MAX) throw invalid("its dklen is none");
  if (kind === "pbkdf2") {
    if (params["prf"] !== "hmac-sha256")
      throw new KeyError("KEYSTORE_UNSUPPORTED", "the keystore's prf is not hmac-sha256");
    const rounds = countOf(params["c"], "c");
    if (rounds > PBKDF2_ROUNDS_MAX)
      throw tooExpensive(`c of ${rounds} where ${PBKDF2_ROUNDS_MAX} is the most`);
    return { kind, salt, sizeBytes, rounds };
  }
  if (kind !== "scrypt")
    throw new KeyError(
      "KEYSTORE_UNSUPPORTED",
      "the keystore's key derivation is neither scrypt nor pbkdf2",
    );
  const [n, r, p] = [
    countOf(params["n"], "n"),
    countOf(params["r"], "r"),
    countOf(params["p"], "p"),
  ];
  if (n < 2 || !Number.isInteger(Math.log2(n))) throw invalid("its n is no power of two");
  if (Math.log2(n) >= 16 * r)
    throw new KeyError(
      "KEYSTORE_UNSUPPORTED",
      "the keystore's scrypt parameters are outside of RFC 7914 (n must be below 2^(16 × r))",
    );
  if (n * r > SCRYPT_NR_MAX || n * r * p > SCRYPT_NRP_MAX)
    throw tooExpensive(
      `n × r of ${n * r} and n × r × p of ${n * r * p} where ${SCRYPT_NR_MAX} and ${SCRYPT_NRP_MAX} are the most`,
    );
  return { kind, salt, sizeBytes, n, r, p };
}

async function derive(kdf: Kdf, password: string): Promise<Buffer> {
  // In a thread of libuv: the event loop goes on.
  if (kdf.kind === "pbkdf2")
    return await deriveByPbkdf2(password, kdf.salt, kdf.rounds, kdf.sizeBytes, "sha256");
  const { n, r, p } = kdf;
  const maxmem = 128 * r * (n + p) + 1_048_576;
  return await new Promise((resolve, reject) => {
    scrypt(password, kdf.salt, kdf.sizeBytes, { N: n, r, p, maxmem }, (error, derived) => {
      if (error === null) resolve(derived);
      else reject(invalid("its scrypt parameters are refused"));
    });
  });
}

function macOf(derived: Buffer, ciphertext: Uint8Array): Uint8Array {
  return keccak256(Buffer.concat([derived.subarray(CIPHER_KEY_BYTES, 32), ciphertext]), "bytes");
}

// The parser's own error would quote the text.
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid("it is not JSON");
  }
}

function bytesOf(value: unknown, least: number, most: number, what: string): Uint8Array {
  const digits = typeof value === "string" ? value.replace(/^0x/i, "") : "";
  if (!/^(?:[0-9a-f]{2})+$/i.test(digits) || digits.length < 2 * least || digits.length > 2 * most)
    throw invalid(`its ${what} is none`);
  return Buffer.from(digits, "hex");
}

function countOf(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1)
    throw invalid(`its ${what} is none`);
  return value;
}

function invalid(why: string): KeyError {
  return new KeyError("KEYSTORE_INVALID", `the file is no keystore of version 3: ${why}`);
}

function tooExpensive(why: string): KeyError {
  return new KeyError(
    "KEYSTORE_TOO_EXPENSIVE",
    `the keystore asks for more work than is reasonable: ${why}`,
  );
}
