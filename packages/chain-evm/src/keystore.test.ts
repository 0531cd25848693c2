import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { KeyError } from "./key-error.ts";
import { decryptKeystore, encryptKeystore, loadKeystore } from "./keystore.ts";

// Anvil's first account: public knowledge.
const KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ADDRESS = "f39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const PASSWORD = "correct horse battery";
const CHEAP = { scryptN: 2 };

// Examples of the format that others made: its definition's own, and go-ethereum's.
const EXAMPLES = {
  pbkdf2: {
    password: "testpassword",
    key: "0x7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d",
    file: {
      crypto: {
        cipher: "aes-128-ctr",
        cipherparams: { iv: "6087dab2f9fdbbfaddc31a909735c1e6" },
        ciphertext: "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        kdf: "pbkdf2",
        kdfparams: {
          c: 262_144,
          dklen: 32,
          prf: "hmac-sha256",
          salt: "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        mac: "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
      },
      id: "3198bc9c-6672-5ab3-d995-4942343ae5b6",
      version: 3,
    },
  },
  // Its key begins with a zero byte, which its maker left out.
  scrypt: {
    password: "foo",
    key: "0x00fa7b3db73dc7dfdf8c5fbdb796d741e4488628c41fc4febd9160a866ba0f35",
    file: {
      crypto: {
        cipher: "aes-128-ctr",
        cipherparams: { iv: "e0c41130a323adc1446fc82f724bca2f" },
        ciphertext: "9517cd5bdbe69076f9bf5057248c6c050141e970efa36ce53692d5d59a3984",
        kdf: "scrypt",
        kdfparams: {
          dklen: 32,
          n: 2,
          r: 8,
          p: 1,
          salt: "711f816911c92d649fb4c84b047915679933555030b3552c1212609b38208c63",
        },
        mac: "d5e116151c6aa71470e67a7d42c9620c75c4d23229847dcc127794f0732b0db5",
      },
      id: "fecfc4ce-e956-48fd-953b-30f8b52ed66c",
      version: 3,
    },
  },
} as const;

async function failure(work: Promise<unknown>): Promise<KeyError> {
  const error = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof KeyError)) throw new Error(`expected a KeyError, got ${String(error)}`);
  return error;
}

type Tree = { [key: string]: unknown };

/** A cheap keystore with one thing changed. */
async function changed(
  change: (file: Tree, crypto: Tree, kdfparams: Tree) => void,
): Promise<string> {
  const file = JSON.parse(await encryptKeystore(KEY, PASSWORD, CHEAP)) as Tree;
  const crypto = file["crypto"] as Tree;
  change(file, crypto, crypto["kdfparams"] as Tree);
  return JSON.stringify(file);
}

describe("a keystore", () => {
  test.each(["pbkdf2", "scrypt"] as const)("that others made with %s opens", async (kdf) => {
    const { file, password, key } = EXAMPLES[kdf];
    expect(await decryptKeystore(JSON.stringify(file), password)).toBe(key);
  });

  test("gives back the key it was made of, with or without 0x, and never the same file twice", async () => {
    const files = [
      await encryptKeystore(KEY, PASSWORD, CHEAP),
      await encryptKeystore(KEY.slice(2), PASSWORD, CHEAP),
    ];
    for (const file of files) {
      expect(await decryptKeystore(file, PASSWORD)).toBe(KEY);
      expect(JSON.parse(file)).toMatchObject({ version: 3, address: ADDRESS });
      expect(file).not.toContain(KEY.slice(2));
      expect(file).not.toContain(PASSWORD);
    }
    const sealed = files.map((file) => (JSON.parse(file) as { crypto: Tree }).crypto);
    for (const field of ["ciphertext", "mac"])
      expect(sealed[0]?.[field]).not.toBe(sealed[1]?.[field]);
  });

  test("is made with geth's parameters by default", async () => {
    const file = JSON.parse(await encryptKeystore(KEY, PASSWORD)) as { crypto: Tree };
    expect(file.crypto["kdfparams"]).toMatchObject({ n: 262_144, r: 8, p: 1, dklen: 32 });
  });

  test("of old geth, and one without an address, open too", async () => {
    const old = await changed((file, crypto) => {
      delete file["crypto"];
      file["Crypto"] = crypto;
      file["address"] = `0x${ADDRESS.toUpperCase()}`;
    });
    expect(await decryptKeystore(old, PASSWORD)).toBe(KEY);
    const nameless = await changed((file) => delete file["address"]);
    expect(await decryptKeystore(nameless, PASSWORD)).toBe(KEY);
  });

  test("does not open with another password, nor when it was changed", async () => {
    const file = await encryptKeystore(KEY, PASSWORD, CHEAP);
    for (const wrong of ["", "correct horse", `${PASSWORD} `])
      expect((await failure(decryptKeystore(file, wrong))).code).toBe("KEYSTORE_PASSWORD_WRONG");
    const damaged = await changed((_file, crypto) => {
      crypto["ciphertext"] = "00".repeat(32);
    });
    expect((await failure(decryptKeystore(damaged, PASSWORD))).code).toBe(
      "KEYSTORE_PASSWORD_WRONG",
    );
    expect((await failure(encryptKeystore(KEY, "", CHEAP))).code).toBe("KEYSTORE_PASSWORD_WRONG");
    expect((await failure(encryptKeystore("0x12", PASSWORD, CHEAP))).code).toBe("KEY_INVALID");
  });

  test("whose address is another account's is refused, and both are named", async () => {
    const other = "00".repeat(20);
    const file = await changed((tree) => {
      tree["address"] = other;
    });
    const error = await failure(decryptKeystore(file, PASSWORD));
    expect(error.code).toBe("KEYSTORE_ADDRESS_MISMATCH");
    expect(error.message).toContain(other);
    expect(error.message).toContain(ADDRESS);
  });

  test.each<readonly [string, KeyError["code"], (file: Tree, crypto: Tree, kdf: Tree) => unknown]>([
    ["another version", "KEYSTORE_UNSUPPORTED", (file) => (file["version"] = 1)],
    ["another cipher", "KEYSTORE_UNSUPPORTED", (_, crypto) => (crypto["cipher"] = "aes-256-cbc")],
    ["another kdf", "KEYSTORE_UNSUPPORTED", (_, crypto) => (crypto["kdf"] = "argon2id")],
    [
      "another prf",
      "KEYSTORE_UNSUPPORTED",
      (_, crypto) => {
        crypto["kdf"] = "pbkdf2";
        crypto["kdfparams"] = { c: 1, dklen: 32, prf: "hmac-sha1", salt: "00" };
      },
    ],
    ["an n × r beyond the bound", "KEYSTORE_TOO_EXPENSIVE", (_, __, kdf) => (kdf["n"] = 2 ** 20)],
    ["a vast r", "KEYSTORE_TOO_EXPENSIVE", (_, __, kdf) => (kdf["r"] = 2 ** 40)],
    ["a vast p", "KEYSTORE_TOO_EXPENSIVE", (_, __, kdf) => (kdf["p"] = 2 ** 40)],
    [
      "too many rounds",
      "KEYSTORE_TOO_EXPENSIVE",
      (_, crypto) => {
        crypto["kdf"] = "pbkdf2";
        crypto["kdfparams"] = { c: 10_000_001, dklen: 32, prf: "hmac-sha256", salt: "00" };
      },
    ],
    [
      "scrypt outside of its RFC",
      "KEYSTORE_UNSUPPORTED",
      (_, __, kdf) => Object.assign(kdf, { n: 2 ** 18, r: 1 }),
    ],
    ["an n that is no power of two", "KEYSTORE_INVALID", (_, __, kdf) => (kdf["n"] = 3)],
    ["an n of one", "KEYSTORE_INVALID", (_, __, kdf) => (kdf["n"] = 1)],
    ["a negative p", "KEYSTORE_INVALID", (_, __, kdf) => (kdf["p"] = -1)],
    ["a short dklen", "KEYSTORE_INVALID", (_, __, kdf) => (kdf["dklen"] = 16)],
    ["a salt that is no hexadecimal", "KEYSTORE_INVALID", (_, __, kdf) => (kdf["salt"] = "zz")],
    ["a cut-off key", "KEYSTORE_INVALID", (_, crypto) => (crypto["ciphertext"] = "00".repeat(27))],
    ["a cut-off mac", "KEYSTORE_INVALID", (_, crypto) => (crypto["mac"] = "00")],
    ["no iv", "KEYSTORE_INVALID", (_, crypto) => delete crypto["cipherparams"]],
    ["no crypto", "KEYSTORE_INVALID", (file) => delete file["crypto"]],
    ["an address that is none", "KEYSTORE_INVALID", (file) => (file["address"] = 7)],
  ])("with %s is refused as %s", async (_what, code, change) => {
    const file = await changed((...parts) => void change(...parts));
    const error = await failure(decryptKeystore(file, PASSWORD));
    expect(error).toMatchObject({ code, retryable: false });
  });

  test("that is no JSON is refused without showing it", async () => {
    const error = await failure(decryptKeystore(KEY, PASSWORD));
    expect(error.code).toBe("KEYSTORE_INVALID");
    expect(`${error.message} ${error.stack} ${String(error.cause)}`).not.toContain(
      KEY.slice(2, 20),
    );
  });
});

describe("keystore files", () => {
  let directory = "";
  let files = 0;
  const write = async (text: string, mode = 0o600): Promise<string> => {
    const path = join(directory, `file-${files++}`);
    await writeFile(path, text);
    await chmod(path, mode);
    return path;
  };
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "quorate-keystore-"));
  });
  afterAll(async () => {
    await rm(directory, { recursive: true });
  });

  test("open with the password of a file, whose line end is not part of it", async () => {
    const file = await write(await encryptKeystore(KEY, PASSWORD, CHEAP));
    for (const end of ["", "\n", "\r\n"])
      expect(await loadKeystore({ file, passwordFile: await write(PASSWORD + end) })).toBe(KEY);
    expect(
      (await failure(loadKeystore({ file, passwordFile: await write(`${PASSWORD}\n\n`) }))).code,
    ).toBe("KEYSTORE_PASSWORD_WRONG");
  });

  test("must both be closed to others, and of a sensible size", async () => {
    const text = await encryptKeystore(KEY, PASSWORD, CHEAP);
    const [file, passwordFile] = [await write(text), await write(PASSWORD)];
    const codeOf = async (paths: Parameters<typeof loadKeystore>[0]) =>
      (await failure(loadKeystore(paths))).code;
    expect(await codeOf({ file: await write(text, 0o640), passwordFile })).toBe("KEY_FILE_EXPOSED");
    expect(await codeOf({ file, passwordFile: await write(PASSWORD, 0o604) })).toBe(
      "KEY_FILE_EXPOSED",
    );
    expect(await codeOf({ file: join(directory, "none"), passwordFile })).toBe(
      "KEY_FILE_UNREADABLE",
    );
    expect(await codeOf({ file: await write(" ".repeat(20_000)), passwordFile })).toBe(
      "KEY_INVALID",
    );
    expect(await codeOf({ file, passwordFile: await write("x".repeat(2_000)) })).toBe(
      "KEY_INVALID",
    );
  });

  test("that fail show neither key nor password", async () => {
    const file = await write(await encryptKeystore(KEY, PASSWORD, CHEAP));
    const passwordFile = await write("another horse");
    const error = await failure(loadKeystore({ file, passwordFile }));
    const shown = `${error.message} ${error.stack} ${String(error.cause)} ${JSON.stringify(error)}`;
    for (const secret of [KEY.slice(2, 20), PASSWORD, "another horse"])
      expect(shown).not.toContain(secret);
  });
});
