import { parseTxId, parseValue, TX_STATUSES, type TxStatus } from "@quorate/core";
import { NodeApiError, type NodeClient, type TransactionView } from "@quorate/localcluster/client";
import type { Command } from "commander";
import { nodeClientFrom } from "../clients.ts";
import { COMMAND } from "../command-name.ts";
import type { CommandContext } from "../context.ts";
import { CliError, EXIT, usageErrors } from "../failure.ts";
import { httpUrl, wholeNumber } from "../options.ts";
import { receiptLine } from "../render/receipts.ts";
import { paintStatus, renderTransaction } from "../render/transaction.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";

interface VoteOptions {
  readonly node?: string;
  readonly wait?: true;
  readonly timeout: number;
  readonly json?: true;
}

const LONG_POLL_MS = 10_000;
const TIMEOUT_SECONDS_DEFAULT = 120;

/** Where a transaction has arrived when it ends. */
export const FINAL_STATUSES: readonly TxStatus[] = ["CONFIRMED", "ABORTED_BYZANTINE"];

export function addVoteCommand(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("vote")
    .description("cast the vote of a node's trustee")
    .argument("<tx>", "transaction id: 1 to 128 of A-Z a-z 0-9 . _ : -")
    .argument("<value>", "whole number from 0 to 18446744073709551615")
    .option("-n, --node <url>", "node to vote through [QUORATE_NODE]", httpUrl)
    .option("-w, --wait", "follow the transaction to its end; exit code 1 if it is aborted")
    .option(
      "-t, --timeout <seconds>",
      "how long --wait waits",
      wholeNumber(1, 86_400),
      TIMEOUT_SECONDS_DEFAULT,
    )
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate vote tx-1 42
  quorate vote tx-1 42 --node http://127.0.0.1:7702 --wait
  quorate vote tx-1 42 --json`,
    )
    .action(
      done((tx: string, value: string, options: VoteOptions) => vote(tx, value, options, terminal)),
    );
}

async function vote(
  tx: string,
  valueText: string,
  options: VoteOptions,
  terminal: Terminal,
): Promise<number> {
  const { txId, value } = checkVote(tx, valueText);
  const client = nodeClientFrom(options.node, process.env);
  let receipt: Awaited<ReturnType<NodeClient["vote"]>>;
  try {
    receipt = await client.vote(txId, value);
  } catch (error) {
    if (!(error instanceof NodeApiError) || error.code === "UNREACHABLE") throw error;
    if (error.receipt !== null) terminal.note(receiptLine(error.receipt));
    throw new CliError(`the vote was refused (${error.code}) by ${client.url}: ${error.message}`, {
      cause: error,
    });
  }
  const { style } = terminal;
  const line = `${receipt.nodeId} voted ${receipt.value} on ${receipt.txId}: ${receipt.outcome}`;
  if (options.wait !== true) {
    if (options.json === true) terminal.data(jsonDocument(receipt));
    else if (receipt.outcome === "PENDING")
      terminal.data(`${line} (published, not recorded yet; ask again with: ${COMMAND} tx ${txId})`);
    else terminal.data(`${line}, status ${receipt.status ?? "unknown"}`);
    return EXIT.ok;
  }
  terminal.note(line);
  const end = await follow(client, txId, {
    timeoutMs: options.timeout * 1_000,
    onStatus: (tx_) => terminal.note(`${tx_.txId} is ${paintStatus(tx_.status, style)}`),
  });
  if (options.json === true) terminal.data(jsonDocument({ ...receipt, transaction: end }));
  else terminal.data(renderTransaction(end, terminal.dataStyle));
  return end.status === "CONFIRMED" ? EXIT.ok : EXIT.failed;
}

/** The arguments as ids, or all that is wrong with them, before any node is asked. */
export function checkVote(
  tx: string,
  valueText: string,
): { readonly txId: string; readonly value: string } {
  const txId = parseTxId(tx);
  const value = parseValue(valueText);
  if (txId.ok && value.ok) return { txId: txId.value, value: value.value.toString() };
  throw usageErrors([txId, value].flatMap((result) => (result.ok ? [] : [result.error.message])));
}

/** Reports each status a transaction takes until a final one, and returns how it ended. */
export async function follow(
  client: NodeClient,
  txId: string,
  options: {
    readonly timeoutMs: number;
    readonly onStatus: (tx: TransactionView) => void;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<TransactionView> {
  const deadlineMs = performance.now() + options.timeoutMs;
  let seen: TxStatus | null = null;
  for (;;) {
    const leftMs = deadlineMs - performance.now();
    if (leftMs <= 0)
      throw new CliError(
        `${txId} has not ended after ${options.timeoutMs / 1_000} s: it is ${seen ?? "unknown"} at ${client.url}`,
      );
    const other = TX_STATUSES.filter((status) => status !== seen);
    const tx = await client.transaction(txId, {
      until: other,
      timeoutMs: Math.min(leftMs, LONG_POLL_MS),
      signal: options.signal,
    });
    if (tx === null || tx.status === seen) continue;
    seen = tx.status;
    options.onStatus(tx);
    if (FINAL_STATUSES.includes(tx.status)) return tx;
  }
}
