import type { SubmissionState } from "@quorate/core";
import type {
  SenderView,
  SlotView,
  SubmissionDetailView,
  SubmissionView,
} from "../commands/submissions-client.ts";
import type { Style } from "../terminal.ts";
import { fields, table } from "./table.ts";

const WEI_PER_GWEI = 1_000_000_000n;

/** A state in its colour. */
function paintState(state: SubmissionState, style: Style): string {
  if (state === "FINALIZED") return style.good(state);
  return state === "QUARANTINED" || state === "ABORTED" ? style.bad(state) : style.warn(state);
}

/** Submissions for a person, a line each. */
export function renderSubmissions(submissions: readonly SubmissionView[], style: Style): string {
  return table(
    ["TRANSACTION", "VALUE", "STATE", "NONCE", "BLOCK", "TRIES", "QUEUED", "REASON"],
    submissions.map((s) => [
      s.txId,
      s.value,
      paintState(s.state, style),
      s.nonce ?? "-",
      s.blockNumber ?? "-",
      String(s.tries),
      s.queuedAt,
      s.reason ?? "",
    ]),
    style.dim,
  );
}

/** One submission with all that was signed for it. */
export function renderSubmission(submission: SubmissionDetailView, style: Style): string {
  const { slots, history } = submission;
  const place = submission.blockNumber === null ? null : `block ${submission.blockNumber}`;
  const chain = [place, submission.txHash].filter((part) => part !== null).join(", ");
  const head = fields([
    ["transaction", style.bold(submission.txId)],
    ["state", paintState(submission.state, style)],
    ["reason", submission.reason],
    ["value", submission.value],
    ["epoch", String(submission.epoch)],
    ["contract key", submission.key],
    ["chain", chain === "" ? null : chain],
    ["tries", submission.tries === 0 ? null : String(submission.tries)],
    ["queued", submission.queuedAt],
    ["final", submission.finalizedAt],
    ["confirmed", submission.confirmedAt],
    [
      "archived",
      submission.archivedAt === null
        ? null
        : `${submission.archivedAt} (it was archived: the same id is refused for ever)`,
    ],
  ]);
  const attempts = table(
    ["NONCE", "STATE", "RESULTS", "KIND", "MAX FEE", "TIP", "SENT", "SIGNED", "HASH"],
    slots.flatMap((slot) => attemptRows(slot, style)),
    style.dim,
  );
  const moves = table(
    ["AT", "NONCE", "MOVE", "LEADER", "BLOCK", "WHY"],
    history.map((move) => [
      move.at,
      move.nonce,
      `${move.from ?? "(new)"} → ${move.to}`,
      move.leaderEpoch,
      move.blockNumber ?? "-",
      move.reason ?? "",
    ]),
    style.dim,
  );
  return [
    head,
    ...(slots.length === 0 ? ["nothing is signed for it"] : [attempts]),
    ...(history.length === 0 ? [] : [moves]),
  ].join("\n\n");
}

function attemptRows(slot: SlotView, style: Style): readonly (readonly string[])[] {
  const { nonce, results } = slot;
  const begin = [nonce, slot.state, String(results)];
  if (slot.attempts.length === 0) return [[...begin, "(not signed yet)"]];
  return slot.attempts.map((attempt) => {
    const isMined = slot.included?.hash === attempt.hash;
    return [
      ...begin,
      attempt.kind,
      gweiOf(attempt.maxFeePerGasWei),
      gweiOf(attempt.maxPriorityFeePerGasWei),
      attempt.sentCount === 0 ? style.dim("never") : `${attempt.sentCount}×`,
      attempt.createdAt,
      isMined ? style.good(`${attempt.hash} (mined)`) : attempt.hash,
    ];
  });
}

/** Wei as gwei with three places, rounded up: an offer is never shown as less than it is. */
function gweiOf(wei: string): string {
  const thousandths = (BigInt(wei) * 1_000n + WEI_PER_GWEI - 1n) / WEI_PER_GWEI;
  return `${thousandths / 1_000n}.${(thousandths % 1_000n).toString().padStart(3, "0")} gwei`;
}

/** The account that sends, for a person. */
export function renderSender(sender: SenderView, style: Style): string {
  const { chain, frozen, counts } = sender;
  return fields([
    ["sender", `${style.bold(sender.address)} on chain ${sender.chainId}`],
    [
      "frozen",
      frozen === null ? style.good("no") : style.bad(`since ${frozen.since}: ${frozen.reason}`),
    ],
    ["next nonce", sender.nextNonce ?? "none yet"],
    [
      "on the chain",
      chain.problem === null
        ? `${chain.latestNonce}, with the pools ${chain.pendingNonce}`
        : style.warn(`unknown: ${chain.problem}`),
    ],
    ["not final", sender.liveNonces.length === 0 ? null : sender.liveNonces.join(", ")],
    ["gaps", sender.gaps.length === 0 ? null : style.bad(sender.gaps.join(", "))],
    [
      "events held",
      sender.importedThroughBlock === null
        ? "never"
        : `through block ${sender.importedThroughBlock}`,
    ],
    [
      "submissions",
      Object.entries(counts)
        .map(([state, n]) => `${n} ${state}`)
        .join(", "),
    ],
  ]);
}
