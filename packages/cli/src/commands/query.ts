import { parseTxId } from "@quorate/core";
import type { Command } from "commander";
import { nodeClientFrom } from "../clients.ts";
import type { CommandContext } from "../context.ts";
import { CliError, EXIT, usageError } from "../failure.ts";
import { httpUrl } from "../options.ts";
import { renderStatus } from "../render/status.ts";
import { renderTransaction } from "../render/transaction.ts";
import { jsonDocument } from "../terminal.ts";

interface QueryOptions {
  readonly node?: string;
  readonly json?: true;
}

/** `tx` and `status`: what a node knows. */
export function addQueryCommands(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("tx")
    .description("show a transaction: status, votes, violations, place on the chain")
    .argument("<tx>", "transaction id")
    .option("-n, --node <url>", "node to ask [QUORATE_NODE]", httpUrl)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate tx tx-1
  quorate tx tx-1 --json | jq -r .status`,
    )
    .action(
      done(async (tx: string, options: QueryOptions) => {
        const txId = parseTxId(tx);
        if (!txId.ok) throw usageError(txId.error.message);
        const client = nodeClientFrom(options.node, process.env);
        const found = await client.transaction(txId.value);
        if (found === null) throw new CliError(`nobody has voted on ${txId.value} (${client.url})`);
        terminal.data(
          options.json === true
            ? jsonDocument(found)
            : renderTransaction(found, terminal.dataStyle),
        );
        return EXIT.ok;
      }),
    );
  program
    .command("status")
    .description("show a node and its cluster: trustees, bans, readiness")
    .option("-n, --node <url>", "node to ask [QUORATE_NODE]", httpUrl)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate status
  quorate status --node http://127.0.0.1:7702 --json | jq .ready`,
    )
    .action(
      done(async (options: QueryOptions) => {
        const client = nodeClientFrom(options.node, process.env);
        const status = await client.status();
        terminal.data(
          options.json === true ? jsonDocument(status) : renderStatus(status, terminal.dataStyle),
        );
        return EXIT.ok;
      }),
    );
}
