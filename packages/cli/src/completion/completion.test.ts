import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createContext } from "../context.ts";
import { buildProgram, run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";
import { SHELLS, type Shell } from "./scripts.ts";
import { commandWords, flatten } from "./tree.ts";

const scratch = mkdtempSync(join(tmpdir(), "quorate-completion-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function script(shell: Shell): Promise<string> {
  const terminal = recordingTerminal();
  expect(await run(["completion", shell], terminal)).toBe(0);
  return terminal.stdout();
}

/** What a real bash offers after these words; the last one is being typed. */
async function completed(...words: string[]): Promise<readonly string[]> {
  const file = join(scratch, "quorate.bash");
  writeFileSync(file, await script("bash"));
  const list = words.map((word) => `'${word}'`).join(" ");
  const program = `set -u; source '${file}'; COMP_WORDS=(quorate ${list}); COMP_CWORD=${words.length}; _quorate; printf '%s\\n' "\${COMPREPLY[@]-}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", program], { encoding: "utf8", cwd: scratch });
  expect(stderr).toBe("");
  return stdout.split("\n").filter((word) => word !== "");
}

const all = flatten(commandWords(buildProgram(createContext(recordingTerminal()).context), {}));
const hasShell = (shell: Shell): boolean => spawnSync(shell, ["-c", "true"]).status === 0;

describe("shell completion", () => {
  it.each(SHELLS)("names every command and every flag in the script for %s", async (shell) => {
    const text = await script(shell);
    expect(all.length).toBeGreaterThan(25);
    for (const { path, name, flags } of all) {
      expect(text).toContain(path);
      if (path !== "") expect(text).toContain(name);
      for (const { words } of flags)
        for (const word of words)
          expect(text).toContain(
            shell === "fish" ? word.replace(/^--/, "-l ").replace(/^-(?=.$)/, "-s ") : word,
          );
    }
    // An app's own flags, which commander does not know here.
    expect(text).toContain("bootstrap");
  });

  it.each(SHELLS.filter(hasShell))("is a script that %s can read", async (shell) => {
    const file = join(scratch, `syntax.${shell}`);
    writeFileSync(file, await script(shell));
    const { status, stderr } = spawnSync(shell, ["-n", file], { encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
  });

  it("completes commands, commands of commands, flags and choices in a real bash", async () => {
    expect(await completed("doc")).toEqual(["doctor"]);
    expect(await completed("cluster", "")).toEqual(
      expect.arrayContaining(["create", "init", "deploy-contract"]),
    );
    expect(await completed("cluster", "create", "--thr")).toEqual(["--threshold"]);
    expect(await completed("cluster", "create", "--policy", "q")).toEqual([
      "quarantine-and-continue",
    ]);
    expect(await completed("node", "--boot")).toEqual(["--bootstrap"]);
    expect(await completed("submitter", "doctor", "--j")).toEqual(["--json"]);
  });

  it("completes a flag's value as a file, and offers no command there", async () => {
    writeFileSync(join(scratch, "cluster.json"), "");
    expect(await completed("doctor", "--config", "cluster")).toEqual(["cluster.json"]);
  });
});
