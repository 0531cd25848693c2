import { parseTxId, REFUSAL_REASONS, type RefusalReason } from "@quorate/core";
import { type Command, Option } from "commander";
import { nodeClientFrom } from "../clients.ts";
import type { CommandContext } from "../context.ts";
import { EXIT, usageError } from "../failure.ts";
import { httpUrl, wholeNumber } from "../options.ts";
import { renderReceipts } from "../render/receipts.ts";
import { jsonDocument } from "../terminal.ts";

/** As many as a node tells at once. */
const LIMIT_MAX = 500;
const LIMIT_DEFAULT = 50;

interface ReceiptsOptions {
  readonly tx?: string;
  readonly reason?: RefusalReason;
  readonly by?: string;
  readonly node?: string;
  readonly limit: number;
  readonly json?: true;
}

/** `receipts`: what was refused, by whom and why. */
export function addReceiptsCommand(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("receipts")
    .description("show what was refused in the last hour: by which node, why, how often")
    .option("--tx <id>", "only votes on this transaction")
    .addOption(new Option("--reason <reason>", "only for this reason").choices(REFUSAL_REASONS))
    .option("--by <node>", "only what this node refused: a node id or a peer id")
    .option(
      "-l, --limit <count>",
      "at most so many, the newest first",
      wholeNumber(1, LIMIT_MAX),
      LIMIT_DEFAULT,
    )
    .option("-n, --node <url>", "node to ask [QUORATE_NODE]", httpUrl)
    .option("--json", "print one JSON document, with whole ids, hashes and signatures")
    .addHelpText(
      "after",
      `
A receipt is a node's signed word that it did not take a message. One may stand for many messages of a
flood: COUNT says for how many, and only what all of them have in common is shown. "via" is who passed on a
message whose author is not authenticated.

Examples:
  quorate receipts
  quorate receipts --tx tx-1
  quorate receipts --reason bad_signature --by trustee-2 --limit 10
  quorate receipts --json | jq '[.receipts[].count] | add'`,
    )
    .action(
      done(async ({ tx, reason, by, node, limit, json }: ReceiptsOptions) => {
        const txId = tx === undefined ? undefined : parseTxId(tx);
        if (txId?.ok === false) throw usageError(txId.error.message);
        const client = nodeClientFrom(node, process.env);
        const list = await client.receipts({ limit, tx: txId?.value, reason, node: by });
        terminal.data(
          json === true ? jsonDocument(list) : renderReceipts(list.receipts, terminal.dataStyle),
        );
        if (list.receipts.length === 0) terminal.note("no receipts");
        if (!list.complete)
          terminal.note(`there may be more than ${client.url} could look through`);
        return EXIT.ok;
      }),
    );
}
