import { parseTxId, type SubmissionState } from "@quorate/core";
import { submitterClientFrom } from "../clients.ts";
import { CliError, EXIT, usageError } from "../failure.ts";
import { renderSender, renderSubmission, renderSubmissions } from "../render/submission.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import {
  type OperatorRequest,
  type SenderView,
  SubmitterApiError,
  type SubmitterClient,
} from "./submissions-client.ts";
import { differencesOf, type SenderFacts } from "./submitter-differences.ts";

interface SubmitterOptions {
  readonly submitter?: string;
  readonly json?: true;
}

export interface ListOptions extends SubmitterOptions {
  readonly state?: readonly SubmissionState[];
  readonly after?: string;
  readonly limit: number;
}

export type ShowOptions = SubmitterOptions;

export interface OperatorOptions extends SubmitterOptions {
  readonly reason: string;
  readonly operator: string;
}

export interface UnfreezeOptions extends OperatorOptions {
  readonly acceptDifferences?: true;
}

function clientOf({ submitter }: SubmitterOptions): SubmitterClient {
  return submitterClientFrom(submitter, process.env);
}

export async function listSubmissionsAction(
  options: ListOptions,
  terminal: Terminal,
): Promise<number> {
  const { state, after, limit, json } = options;
  const client = clientOf(options);
  const page = await client.list({
    ...(state === undefined ? {} : { states: state }),
    after,
    limit,
  });
  if (json === true) terminal.data(jsonDocument(page));
  else if (page.submissions.length === 0) terminal.data(`no such submission (${client.url})`);
  else terminal.data(renderSubmissions(page.submissions, terminal.dataStyle));
  if (page.next !== null) terminal.note(`there are more: --after ${page.next}`);
  return EXIT.ok;
}

export async function showSubmissionAction(
  tx: string,
  options: ShowOptions,
  terminal: Terminal,
): Promise<number> {
  const found = await clientOf(options).submission(txIdOf(tx));
  terminal.data(
    options.json === true ? jsonDocument(found) : renderSubmission(found, terminal.dataStyle),
  );
  return EXIT.ok;
}

export async function retrySubmissionAction(
  tx: string,
  options: OperatorOptions,
  terminal: Terminal,
): Promise<number> {
  const txId = txIdOf(tx);
  const request = requestOf(options);
  const client = clientOf(options);
  const released = await refusedAs("nothing was retried", () => client.retry(txId, request));
  if (options.json === true) terminal.data(jsonDocument(released));
  else
    terminal.data(
      `${released.txId} is QUEUED again; recorded: by ${released.by}, because: ${released.reason}`,
    );
  return EXIT.ok;
}

export async function freezeAction(options: OperatorOptions, terminal: Terminal): Promise<number> {
  const request = requestOf(options);
  const client = clientOf(options);
  const sender = await refusedAs("nothing was frozen", () => client.freeze(request));
  if (options.json === true) terminal.data(jsonDocument(sender));
  else {
    terminal.data(renderSender(sender, terminal.dataStyle));
    terminal.note(
      "no new nonce is taken; what was signed before goes on to finality. To resume: quorate submissions unfreeze",
    );
  }
  return EXIT.ok;
}

/** Shows what differs before it resumes anything; where something does, only when told that it was seen. */
export async function unfreezeAction(
  options: UnfreezeOptions,
  terminal: Terminal,
): Promise<number> {
  const request = requestOf(options);
  const client = clientOf(options);
  const before = await client.sender();
  if (before.frozen === null) {
    if (options.json === true)
      terminal.data(jsonDocument({ outcome: "not-frozen", differences: [], sender: before }));
    else terminal.data(`the sender ${before.address} is not frozen`);
    return EXIT.ok;
  }
  const differences = differencesOf(factsOf(before));
  terminal.note(`frozen since ${before.frozen.since}: ${before.frozen.reason}`);
  for (const difference of differences)
    terminal.note(`${terminal.style.warn("differs:")} ${difference}`);
  if (differences.length > 0 && options.acceptDifferences !== true)
    throw new CliError(
      "it stays frozen; look into what differs, and repeat with --accept-differences to resume all the same",
    );
  if (differences.length === 0)
    terminal.note("beyond that, nothing differs between the database and the chain");
  const sender = await refusedAs("it stays frozen", () => client.thaw(request));
  if (options.json === true)
    terminal.data(jsonDocument({ outcome: "thawed", differences, sender }));
  else {
    terminal.data(renderSender(sender, terminal.dataStyle));
    // A leader that finds its history lost freezes again at once.
    if (sender.frozen !== null) terminal.note(`frozen again: ${sender.frozen.reason}`);
  }
  return sender.frozen === null ? EXIT.ok : EXIT.failed;
}

function factsOf({ nextNonce, history, gaps, counts, chain }: SenderView): SenderFacts {
  const number = (text: string | null): bigint | null => (text === null ? null : BigInt(text));
  return {
    nextNonce: number(nextNonce),
    latestNonce: number(chain.latestNonce),
    pendingNonce: number(chain.pendingNonce),
    history,
    finalizedBlock: number(chain.finalizedBlock),
    gaps: gaps.map(BigInt),
    quarantined: counts.QUARANTINED,
  };
}

function txIdOf(tx: string): string {
  const txId = parseTxId(tx);
  if (!txId.ok) throw usageError(txId.error.message);
  return txId.value;
}

function requestOf({ reason, operator }: OperatorOptions): OperatorRequest {
  if (reason.trim() === "") throw usageError("--reason must say why");
  if (operator.trim() === "") throw usageError("--operator must say who");
  return { reason, operator };
}

/** Says first what did not happen; an API that can't be asked speaks for itself. */
async function refusedAs<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof SubmitterApiError)) throw error;
    // A lost answer may have taken effect; saying otherwise would be a lie.
    if (error.code === "UNREACHABLE" || error.code === "NOT_A_SUBMITTER") throw error;
    throw new CliError(`${what} (${error.code}): ${error.message}`, { cause: error });
  }
}
