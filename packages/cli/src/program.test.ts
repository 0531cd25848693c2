import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { createContext } from "./context.ts";
import { buildProgram, run } from "./program.ts";
import { recordingTerminal } from "./test-terminal.ts";
import { VERSION } from "./version.ts";

async function quorate(...argv: string[]) {
  const terminal = recordingTerminal();
  const code = await run(argv, terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

function leaves(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

/** With the texts added after it, which `helpInformation` leaves out. */
function helpOf(command: Command): string {
  const written: string[] = [];
  command.configureOutput({ writeOut: (text) => void written.push(text) });
  command.outputHelp();
  return written.join("");
}

describe("the command line", () => {
  const program = buildProgram(createContext(recordingTerminal()).context);
  // The first two hand everything to an app, which has its own help; the last prints a shell's script.
  const others = ["node", "submitter", "completion"];
  const own = leaves(program).filter((c) => !others.includes(c.name()));

  it.each(own.map((command) => [command.name(), command] as const))(
    "%s has a help with an example, and --json",
    (_name, command) => {
      const help = helpOf(command);
      expect(help).toMatch(/Examples?:\n {2}quorate /);
      expect(help).toContain("--json");
    },
  );

  it("says its version on stdout", async () => {
    expect(await quorate("--version")).toEqual({ code: 0, stdout: VERSION, stderr: "" });
  });

  it.each([
    [["vot"], "Did you mean vote?"],
    [["vote", "tx", "1", "--jsn"], "Did you mean --json?"],
    [["cluster", "creat"], "Did you mean create?"],
    [["vote", "tx"], "missing required argument 'value'"],
    [["vote", "tx", "1", "2"], "too many arguments"],
    [["status", "--node", "no-url"], "must be a URL"],
    [["demo", "--etcd", "2"], "must be 1 or 3"],
    [["completion", "csh"], "Allowed choices are bash, zsh, fish"],
    [["watch", "--interval-ms", "1"], "whole number from 200"],
    [["doctor"], "--config FILE"],
    [["cluster", "create", "--trustees", "3", "--threshold", "2"], "--out"],
    [["demo", "--only", "consensus,peace"], 'no scenario is called "peace"'],
  ])("%j is wrong usage: exit code 2, said on stderr only", async (argv, said) => {
    const { code, stdout, stderr } = await quorate(...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(said);
  });

  it.each([
    ["a/b", "1", ["transaction id must be"]],
    ["tx", "-1", ['but got "-1"']],
    ["tx", "18446744073709551616", ["from 0 to 18446744073709551615"]],
    ["tx", "abc", ['but got "abc"']],
    ["-", "1e3", ["transaction id must be", 'but got "1e3"']],
  ])("a vote of %j %j is refused before any node is asked", async (tx, value, said) => {
    // Nothing listens there; a request would end with another message and code.
    const answer = await quorate("vote", tx, value, "--node", "http://127.0.0.1:9");
    expect(answer.code).toBe(2);
    for (const part of said) expect(answer.stderr).toContain(part);
  });

  it("an unreachable node is one sentence that names it, exit code 1, without a stack", async () => {
    const { code, stdout, stderr } = await quorate("status", "--node", "http://127.0.0.1:2");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^quorate: no node answers at http:\/\/127\.0\.0\.1:2: .+$/);
  });

  it("--debug shows the stack of the same error", async () => {
    const { stderr } = await quorate("status", "--node", "http://127.0.0.1:2", "--debug");
    expect(stderr).toMatch(/NodeApiError: no node answers[^]*\n {4}at /);
  });

  it("a cluster that can't be made is refused with every reason at once", async () => {
    const words = "cluster create --trustees 3 --threshold 4 --out /nonexistent/x --name BAD";
    const more = "--contract 0x12 --postgres mysql://x";
    const { code, stderr } = await quorate(...`${words} ${more}`.split(" "));
    expect(code).toBe(2);
    for (const part of ["4 problems", "threshold 4", "BAD", "0x12", "--postgres"])
      expect(stderr).toContain(part);
  });
});
