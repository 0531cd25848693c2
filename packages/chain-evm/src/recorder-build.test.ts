import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { recorderBuild } from "./recorder.generated.ts";

const script = fileURLToPath(new URL("../scripts/compile-contract.ts", import.meta.url));
const generated = fileURLToPath(new URL("recorder.generated.ts", import.meta.url));
const contract = new URL("../contracts/QuorateRecorder.sol", import.meta.url);

function check(file: string): Promise<{ readonly exitCode: number; readonly stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [script, "--check", "--out", file],
      (_error, _stdout, stderr) => resolve({ exitCode: child.exitCode ?? -1, stderr }),
    );
  });
}

describe("the committed contract build", () => {
  test("is what the source compiles to", { timeout: 120_000 }, async () => {
    expect(await check(generated)).toEqual({ exitCode: 0, stderr: "" });
  });

  test("is found stale when one byte of it differs", { timeout: 120_000 }, async () => {
    const directory = await mkdtemp(join(tmpdir(), "quorate-recorder-"));
    try {
      const stale = join(directory, "stale.ts");
      await writeFile(stale, (await readFile(generated, "utf8")).replace("0x60", "0x61"));
      const result = await check(stale);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain("is stale");
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test("names the source by its hash", async () => {
    const source = await readFile(contract);
    expect(recorderBuild.sourceHash).toBe(createHash("sha256").update(source).digest("hex"));
  });
});
