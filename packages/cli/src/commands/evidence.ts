import { type Command, InvalidArgumentError } from "commander";
import type { CommandContext } from "../context.ts";
import { httpUrl, wholeNumber } from "../options.ts";
import type { ExportOptions, ListOptions, ShowOptions } from "./evidence-actions.ts";
import type { VerifyOptions } from "./evidence-verify.ts";

/** Entries that a list shows unless asked for more. */
const LIST_DEFAULT = 1_000;
const LIST_MAX = 100_000;

/**
 * `evidence list`, `show`, `export` and `verify`. The actions are loaded when they are called, so that
 * `verify` brings no module with it that could reach a network.
 */
export function addEvidenceCommands(program: Command, context: CommandContext): void {
  const evidence = program
    .command("evidence")
    .description("violations: what is recorded, what it proves, and files that prove it offline");
  addList(evidence, context);
  addShow(evidence, context);
  addExport(evidence, context);
  addVerify(evidence, context);
}

function addList(evidence: Command, { terminal, done }: CommandContext): void {
  evidence
    .command("list")
    .description("list recorded violations")
    .option("--tx <tx>", "only this transaction's")
    .option("--trustee <id>", "only this trustee's: its node id or its peer id")
    .option("--limit <n>", "at most so many", wholeNumber(1, LIST_MAX), LIST_DEFAULT)
    .option("-n, --node <url>", "node to ask [QUORATE_NODE]", httpUrl)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate evidence list
  quorate evidence list --trustee trustee-4
  quorate evidence list --tx tx-1 --json | jq -r '.evidence[].id'`,
    )
    .action(
      done(async (options: ListOptions) =>
        (await import("./evidence-actions.ts")).listEvidenceAction(options, terminal),
      ),
    );
}

function addShow(evidence: Command, { terminal, done }: CommandContext): void {
  evidence
    .command("show")
    .description("show one violation and what its evidence proves")
    .argument("<id>", "evidence id as listed: TX/PEER/TYPE")
    .option("-n, --node <url>", "node to ask [QUORATE_NODE]", httpUrl)
    .option("--json", "print one JSON document, with the evidence as stored")
    .addHelpText(
      "after",
      `
Example:
  quorate evidence show tx-1/12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV/DOUBLE_VOTING`,
    )
    .action(
      done(async (id: string, options: ShowOptions) =>
        (await import("./evidence-actions.ts")).showEvidenceAction(id, options, terminal),
      ),
    );
}

function addExport(evidence: Command, { terminal, done }: CommandContext): void {
  evidence
    .command("export")
    .description("write a file that proves the violation without the cluster")
    .argument("<id>", "evidence id as listed: TX/PEER/TYPE")
    .option("-o, --out <file>", "file to make; without it the file goes to stdout")
    .option("-f, --force", "replace the file if it exists")
    .option("-n, --node <url>", "node to ask, which signs the file [QUORATE_NODE]", httpUrl)
    .option("--json", "with --out: print one JSON document on what was written")
    .addHelpText(
      "after",
      `
Examples:
  quorate evidence export tx-1/12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV/DOUBLE_VOTING \\
    --out tx-1.evidence.json
  quorate evidence list --tx tx-1 --json | jq -r '.evidence[0].id' | xargs quorate evidence export > e.json`,
    )
    .action(
      done(async (id: string, options: ExportOptions) =>
        (await import("./evidence-actions.ts")).exportEvidenceAction(id, options, terminal),
      ),
    );
}

function addVerify(evidence: Command, { terminal, done }: CommandContext): void {
  evidence
    .command("verify")
    .description("check evidence files, with no network and no database")
    .argument("<file...>", "files as exported")
    .option(
      "--set-fingerprint <hex>",
      "a trustee set that you trust; may be given several times",
      fingerprints,
      [],
    )
    .option("--cluster <file>", "cluster.json with the trustee set that you trust")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Nobody vouches for the trustee set inside a file. Without one to compare with, the answer names the
fingerprint under which it holds; with --set-fingerprint or --cluster every set of the file must be
one that you named. Exit code 0: every file is good, 1: one is not.

Examples:
  quorate evidence verify tx-1.evidence.json
  quorate evidence verify *.evidence.json --cluster my-cluster/cluster.json
  quorate evidence verify tx-1.evidence.json --json | jq -r '.files[0].finding'`,
    )
    .action(
      done(async (files: readonly string[], options: VerifyOptions) =>
        (await import("./evidence-verify.ts")).verifyFilesAction(files, options, terminal),
      ),
    );
}

/** For commander: gathers fingerprints over several flags. */
function fingerprints(text: string, before: readonly string[]): readonly string[] {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return [...before, text.toLowerCase()];
  throw new InvalidArgumentError("It must be 64 hexadecimal digits.");
}
