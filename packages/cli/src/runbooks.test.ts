import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { createContext } from "./context.ts";
import { buildProgram } from "./program.ts";
import { recordingTerminal } from "./test-terminal.ts";

const RUNBOOKS = fileURLToPath(new URL("../../../deploy/runbooks/", import.meta.url));
const program = buildProgram(createContext(recordingTerminal()).context);

/** Each `quorate …` that a text tells its reader to type, without shell comments. */
function commandsIn(text: string): readonly string[] {
  const blocks = [...text.matchAll(/```sh\n([^]*?)```/g)].flatMap(([, b]) => (b ?? "").split("\n"));
  const inline = [...text.replaceAll(/```sh\n[^]*?```/g, "").matchAll(/`([^`]+)`/g)].map(
    ([, code]) => code ?? "",
  );
  return [...blocks, ...inline]
    .map((line) => line.replace(/\s+#.*$/, "").trim())
    .filter((line) => line.startsWith("quorate "));
}

/** Why a command line is none of ours; null when it is. */
function problemOf(line: string): string | null {
  const words = (line.match(/"[^"]*"|\S+/g) ?? []).slice(1);
  let command: Command = program;
  let given = 0;
  for (const word of words) {
    const next = command.commands.find((c) => c.name() === word);
    if (next === undefined) break;
    command = next;
    given += 1;
  }
  if (command === program) return `${line}: no such command`;
  const rest = words.slice(given);
  const positional: string[] = [];
  const options = new Set<string>();
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i] ?? "";
    if (!word.startsWith("-")) {
      positional.push(word);
      continue;
    }
    const option = command.options.find((o) => o.long === word || o.short === word);
    if (option === undefined) return `${line}: no option ${word}`;
    options.add(option.long ?? word);
    if (option.required) i += 1;
  }
  const missing = command.options.filter((o) => o.mandatory && !options.has(o.long ?? ""));
  if (missing.length > 0) return `${line}: without ${missing.map((o) => o.long).join(", ")}`;
  const needed = command.registeredArguments.filter((argument) => argument.required).length;
  const takes = command.registeredArguments.length;
  const fits = positional.length >= needed && positional.length <= takes;
  return fits ? null : `${line}: ${positional.length} arguments`;
}

describe("a runbook", () => {
  const files = readdirSync(RUNBOOKS).filter((name) => name.endsWith(".md"));
  const lines = files.flatMap((name) =>
    commandsIn(readFileSync(join(RUNBOOKS, name), "utf8")).map((line) => ({ name, line })),
  );

  it("tells nobody to type what this command line does not know", () => {
    expect(lines.length).toBeGreaterThan(50);
    expect(
      lines.flatMap(({ name, line }) => {
        const problem = problemOf(line);
        return problem === null ? [] : [`${name}: ${problem}`];
      }),
    ).toEqual([]);
  });

  it("would be caught with a wrong command, option, argument, or one left out", () => {
    for (const wrong of [
      "quorate submisions list",
      "quorate submissions list --status QUEUED",
      "quorate tx",
      "quorate tx a b",
      'quorate ban lift trustee-1 --because "x"',
      "quorate submissions retry TX",
    ])
      expect(problemOf(wrong), wrong).not.toBeNull();
    expect(problemOf('quorate ban lift trustee-1 --reason "a reason"')).toBeNull();
  });
});
