import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-cli-backup-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function quorate(...argv: readonly string[]) {
  const terminal = recordingTerminal();
  const code = await run(argv, terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

describe("backup and restore", () => {
  it("says all that is missing at once", async () => {
    const { code, stdout, stderr } = await quorate("backup");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    for (const flag of ["--out", "--cluster-id", "--etcd", "--postgres"])
      expect(stderr).toContain(flag);
  });

  it.each([
    [["restore", "--from", "x"], "say what to restore"],
    [["restore", "--from", "x", "--postgres", "http://x"], "--postgres must be a URL"],
    [["restore", "--postgres", "postgres://x/y"], "--from"],
    [["restore", "--from", "x", "--etcd-data-dir", "d", "--etcd-members", "e1"], "name=peer-url"],
    [["restore", "--from", "x", "--postgres", "postgres://x/y", "--cluster-id", "A B"], "cluster"],
  ])("%j is wrong usage", async (argv, said) => {
    const { code, stdout, stderr } = await quorate(...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(said);
  });

  it("what is no backup is not good, and is not restored", async () => {
    const verified = await quorate("backup", "verify", directory, "--json");
    expect(verified.code).toBe(1);
    expect(JSON.parse(verified.stdout)).toMatchObject({ ok: false, manifest: null });
    expect(verified.stderr).toContain("it has no manifest.json");
    const dataDir = join(directory, "etcd");
    const restored = await quorate("restore", "--from", directory, "--etcd-data-dir", dataDir);
    expect(restored).toMatchObject({ code: 1, stdout: "" });
    expect(restored.stderr).toContain("the backup is not good, and nothing was changed");
  });
});
