import { type Command, InvalidArgumentError } from "commander";
import type { CommandContext } from "../context.ts";
import { httpUrl, httpUrls } from "../options.ts";
import type { BackupOptions, RestoreOptions } from "./backup-actions.ts";

/** `backup`, `backup verify` and `restore`. */
export function addBackupCommands(program: Command, { terminal, done }: CommandContext): void {
  const actions = () => import("./backup-actions.ts");
  const backup = program
    .command("backup")
    .description("back up etcd and PostgreSQL of a cluster while it runs")
    .option("-o, --out <dir>", "directory to make; it must not exist")
    .option(
      "-c, --config <file>",
      "the submitter's configuration, which names all of the following",
    )
    .option("--etcd <urls>", "etcd endpoints, separated by commas", httpUrls)
    .option("--postgres <url>", "PostgreSQL, as postgres://user:password@host:port/database")
    .option("--cluster-id <id>", "the cluster's id")
    .option("--schema <name>", "its schema in PostgreSQL (default: made of the id)")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
The directory appears when everything in it was written and read back. It holds what trustees voted and the
transactions that were signed, but no keys: each trustee's and the submitter's key files, and the trustees' vote
journals, are backed up where they are.

Examples:
  quorate backup --config submitter.json --out "backup-$(date +%F)"
  quorate backup --etcd http://127.0.0.1:2379 --postgres postgres://… --cluster-id main --out my-backup
  quorate backup verify my-backup`,
    )
    .action(
      done(async (options: BackupOptions) => (await actions()).backupAction(options, terminal)),
    );
  backup
    .command("verify")
    .description("read a backup to its end and say all that is wrong with it")
    .argument("<dir>", "the backup")
    .option("--json", "print one JSON document")
    .addHelpText("after", "\nExample:\n  quorate backup verify my-backup --json | jq .problems")
    .action(
      done(async (directory: string, _options: unknown, command: Command) =>
        // The parent has a --json too, and takes it.
        (await actions()).verifyAction(directory, command.optsWithGlobals(), terminal),
      ),
    );
  program
    .command("restore")
    .description("restore PostgreSQL, etcd or both from a backup; all senders begin frozen")
    .requiredOption("-f, --from <dir>", "the backup")
    .option("--postgres <url>", "restore PostgreSQL here")
    .option("--schema <name>", "into this schema (default: that of the backup's cluster)")
    .option("--replace", "put a schema that is there aside under another name, and keep it")
    .option("--cluster-id <id>", "refuse a backup of any other cluster")
    .option("--etcd-data-dir <dir>", "make a member's data directory here; it must not exist")
    .option("--etcd-name <name>", "the member's name", "default")
    .option(
      "--etcd-peer-url <url>",
      "where other members reach it",
      httpUrl,
      "http://localhost:2380",
    )
    .option("--etcd-members <list>", "all members of the new cluster: name=peer-url,…", members)
    .option(
      "--etcd-token <token>",
      "the new cluster's token, the same for all its members (default: a fresh one)",
    )
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Stop all nodes and submitters first. The backup is checked before anything is changed. What is on the chain and not
in the backup is found again when the submitter starts: until then nothing is sent. docs/BACKUP.md has the steps.

Examples:
  quorate restore --from my-backup --postgres postgres://… --replace
  quorate restore --from my-backup --etcd-data-dir /var/lib/etcd/default
  quorate restore --from my-backup --etcd-data-dir /var/lib/etcd/e1 --etcd-name e1 \\
    --etcd-members e1=http://10.0.0.1:2380,e2=http://10.0.0.2:2380,e3=http://10.0.0.3:2380`,
    )
    .action(
      done(async (options: RestoreOptions) => (await actions()).restoreAction(options, terminal)),
    );
}

/** For commander: `name=url` pairs separated by commas. */
function members(text: string): readonly { readonly name: string; readonly peerUrl: string }[] {
  return text.split(",").map((pair) => {
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(at, 0)).trim();
    if (name === "") throw new InvalidArgumentError("It must be name=peer-url,name=peer-url,…");
    return { name, peerUrl: httpUrl(pair.slice(at + 1).trim()) };
  });
}
