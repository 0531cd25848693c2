import { loadModule, TLA_DIRECTORY } from "../../tla/lib/source.ts";
import type { Refusal } from "./refusal.ts";
import type { SubmissionProjection } from "./submission-projection.ts";
import { cfgOf, checkTraces, evaluate, type Model, walkTrace } from "./tla-model.ts";
import { NONE, type Tla } from "./tla-text.ts";
import type { ShapesChecked } from "./voting-check.ts";

const SHAPES_PER_CHECK = 100;
/** More than any trace has of each. */
const BAD_LUCK = 99;

/** Follows every shape of submission through TraceSubmission. */
export function checkSubmissions(
  cluster: string,
  projections: readonly SubmissionProjection[],
): ShapesChecked {
  const shapes = new Map<string, SubmissionProjection>();
  for (const projection of projections)
    if (!shapes.has(projection.shape)) shapes.set(projection.shape, projection);
  const all = [...shapes.values()];
  const source = loadModule("TraceSubmission", TLA_DIRECTORY, ["Traces"]);
  const refusals: Refusal[] = [];
  let states = 0;
  for (let at = 0; at < all.length; at += SHAPES_PER_CHECK) {
    const some = all.slice(at, at + SHAPES_PER_CHECK);
    const outcome = checkTraces({ source, cfg: submissionCfg(some) });
    states += outcome.states;
    if (outcome.kind === "accepted") continue;
    const which = Number(/^\s*which = (\d+)/m.exec(outcome.state)?.[1] ?? 0);
    const refused = some[which - 1];
    if (refused === undefined)
      throw new Error(`the checker stopped at no trace:\n${outcome.state}`);
    refusals.push(explain(cluster, { source, cfg: submissionCfg([refused]) }, refused));
  }
  return { shapes: all.length, states, refusals };
}

function submissionCfg(projections: readonly SubmissionProjection[]): string {
  const most = (of: (p: SubmissionProjection) => number): number =>
    Math.max(...projections.map(of));
  const leads = most((p) => p.leads);
  return cfgOf({
    TxIds: { set: ["tx"] },
    NONE,
    Defects: { set: [] },
    Submitters: { set: Array.from({ length: leads }, (_, i): Tla => `p${i + 1}`) },
    MaxNonce: most((p) => p.nonces),
    MaxEpoch: leads,
    MaxReplaced: BAD_LUCK,
    MaxForeign: BAD_LUCK,
    MaxReverts: BAD_LUCK,
    MaxReorgs: BAD_LUCK,
    Traces: { tuple: projections.map(({ steps }) => ({ tuple: steps.map(({ tla }) => tla) })) },
  });
}

/** What a step of each kind is asked, in this order, when it is refused. `E` stands for the step. */
const QUESTIONS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  enqueue: [
    ["row[Tx] = NONE", "a result is queued once"],
    [`ruling[Tx] = "SUBMIT"`, "only what etcd decided to submit is queued"],
  ],
  assign: [
    [`row[Tx] = "QUEUED"`, "a nonce is taken only for what is QUEUED: it has no other live nonce"],
    [`ruling[Tx] # "ABORT"`, "nothing of an aborted transaction is signed"],
    ["~IsRecorded(Tx, Count)", "what the contract holds is not signed again"],
  ],
  attempt: [
    ["E.n < nextNonce", "nothing is signed for a nonce that was not taken"],
    ["slot[E.n].state \\in LiveStates \\cup {NONE}", "nothing is signed for a nonce that is final"],
  ],
  include: [
    [
      "\\E b \\in sent : b.nonce = E.n",
      "what is in a block was sent, and nothing was sent for this nonce",
    ],
    ["slot[E.n].state \\in LiveStates", "only a live nonce is included"],
  ],
  reorg: [["slot[E.n].state \\in LiveStates", "only a live nonce leaves the chain"]],
  finalize: [
    ["slot[E.n].state \\in LiveStates", "a nonce ends once, and what is final stays as it is"],
    [
      "E.n <= final",
      "a nonce ends only by what endpoints agree on in a final block: nobody saw such a receipt or count",
    ],
    [
      "EndOf(E.n) = E.state",
      "a nonce ends as the chain says: its transaction there is another one, or reverted",
    ],
    [
      `E.row = (IF IsRecorded(Tx, final) THEN "FINALIZED" ELSE "QUEUED")`,
      "what the contract holds at a final block decides whether a result is final or goes again",
    ],
  ],
  send: [
    ["E.kind \\in slot[E.n].attempts", "only what was committed is sent, and this was not yet"],
  ],
  confirm: [[`row[Tx] = "FINALIZED"`, "only what is FINALIZED is confirmed"]],
  mine: [
    ["\\E b \\in sent : b.nonce = E.n /\\ b.kind = E.kind", "only what was sent can be mined"],
  ],
};

function explain(cluster: string, model: Model, projection: SubmissionProjection): Refusal {
  const states = walkTrace(model);
  const state = states.at(-1);
  const refused = projection.steps[states.length - 1];
  if (state === undefined || refused === undefined)
    throw new Error(`${projection.about} was refused in company, and is not alone`);
  const here = "Traces[which][at]";
  const ask = (expression: string): string => evaluate(model, state, expression);
  const kind = ask(`${here}.do`).replaceAll('"', "");
  const fenced = ask(`Writes(${here}.p)`) === "false" && kind !== "send";
  const question = (QUESTIONS[kind] ?? []).find(
    ([expression]) => ask(expression.replaceAll("E.", `${here}.`)) !== "true",
  );
  const guard = fenced
    ? "a later leader's epoch stands: whoever led before writes nothing any more"
    : (question?.[1] ?? `${kind} is not enabled here`);
  return {
    cluster,
    about: projection.about,
    place: refused.place,
    step: refused.step,
    guard,
    state: {
      row: ask("row[Tx]"),
      slot: ask("slot"),
      "next nonce": ask("nextNonce"),
      epoch: ask("epoch"),
      decision: ask("ruling[Tx]"),
      sent: ask("sent"),
      chain: ask("chain"),
      final: ask("final"),
    },
    by: "TraceSubmission",
  };
}
