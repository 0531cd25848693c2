import { loadModule, TLA_DIRECTORY } from "../../tla/lib/source.ts";
import type { Refusal } from "./refusal.ts";
import {
  cfgOf,
  checkTraces,
  evaluate,
  type Model,
  type ModelState,
  walkTrace,
} from "./tla-model.ts";
import { NONE, type Tla } from "./tla-text.ts";
import type { Projection, TraceStep, VotingConstants } from "./voting-projection.ts";

export interface ShapesChecked {
  readonly shapes: number;
  readonly states: number;
  readonly refusals: readonly Refusal[];
}

/** Traces in one call of the checker: each costs a few states, and the text is read once a call. */
const SHAPES_PER_CHECK = 200;

interface Group {
  readonly constants: VotingConstants;
  values: number;
  readonly shapes: Map<string, Projection>;
}

/** Follows every shape of transaction through TraceVoting. One of each is enough: they are the same but for names. */
export function checkVoting(cluster: string, projections: readonly Projection[]): ShapesChecked {
  const groups = new Map<string, Group>();
  for (const projection of projections) {
    const key = JSON.stringify(projection.constants);
    const group = groups.get(key) ?? {
      constants: projection.constants,
      values: 0,
      shapes: new Map<string, Projection>(),
    };
    groups.set(key, group);
    group.values = Math.max(group.values, projection.values);
    if (!group.shapes.has(projection.shape)) group.shapes.set(projection.shape, projection);
  }
  let shapes = 0;
  let states = 0;
  const refusals: Refusal[] = [];
  const source = loadModule("TraceVoting", TLA_DIRECTORY, ["Traces"]);
  for (const group of groups.values()) {
    const all = [...group.shapes.values()];
    shapes += all.length;
    for (let at = 0; at < all.length; at += SHAPES_PER_CHECK) {
      const some = all.slice(at, at + SHAPES_PER_CHECK);
      const outcome = checkTraces({ source, cfg: votingCfg(group, some) });
      states += outcome.states;
      if (outcome.kind === "accepted") continue;
      const which = Number(/^\s*which = (\d+)/m.exec(outcome.state)?.[1] ?? 0);
      const refused = some[which - 1];
      if (refused === undefined)
        throw new Error(`the checker stopped at no trace:\n${outcome.state}`);
      refusals.push(explain(cluster, { source, cfg: votingCfg(group, [refused]) }, refused));
    }
  }
  return { shapes, states, refusals };
}

function votingCfg({ constants, values }: Group, projections: readonly Projection[]): string {
  const { trustees, threshold, policy, profile, silenceStreakMax } = constants;
  const names: Tla = { set: Array.from({ length: trustees }, (_, i) => `n${i + 1}`) };
  return cfgOf({
    TxIds: { set: ["tx"] },
    NONE,
    Defects: { set: [] },
    Trustees: names,
    Threshold: threshold,
    Values: { set: Array.from({ length: values }, (_, i) => `v${i}`) },
    // Whoever signs, and what, is the environment's: nobody is taken to be honest.
    Byzantine: names,
    Undecided: { set: [] },
    Agreed: "v0",
    Policy: policy,
    Profile: profile,
    SilenceStreakMax: silenceStreakMax,
    Timely: false,
    SlowNodes: false,
    Lifts: true,
    Forging: true,
    BannedBefore: { set: [] },
    Traces: {
      tuple: projections.map(({ steps }) => ({ tuple: steps.map(({ tla }) => tla) })),
    },
  });
}

/** What a refused step is asked, the likeliest reasons first. `E` stands for the step. */
const QUESTIONS: readonly (readonly [string, string])[] = [
  ["VotesAreNew(E)", "a vote is written once: the vote's key is there already"],
  ["VotersAreNotBanned(E)", "no vote is recorded of a trustee that is banned"],
  ["DecisionIsNew(E)", "the decision is written once, and it is there already"],
];

function explain(cluster: string, model: Model, projection: Projection): Refusal {
  const states = walkTrace(model);
  const state = states.at(-1);
  const refused = projection.steps[states.length - 1];
  if (state === undefined || refused === undefined)
    throw new Error(`${projection.about} was refused in company, and is not alone`);
  return {
    cluster,
    about: projection.about,
    place: refused.place,
    step: refused.step,
    guard: guardOf(model, state, refused),
    state: {
      status: evaluate(model, state, "Stored.status"),
      votes: evaluate(model, state, "Stored.votes"),
      counts: evaluate(model, state, "Stored.counts"),
      value: evaluate(model, state, "Stored.value"),
      decision: evaluate(model, state, "Stored.decision"),
      violations: evaluate(model, state, "Stored.violations"),
      bans: evaluate(model, state, "bans"),
    },
    by: "TraceVoting",
  };
}

function guardOf(model: Model, state: ModelState, { tla }: TraceStep): string {
  const here = "Traces[which][at]";
  const ask = (expression: string): string => evaluate(model, state, expression);
  const kind = ask(`${here}.do`).replaceAll('"', "");
  if (kind === "claim") {
    if (ask("Stored.status") !== '"THRESHOLD_REACHED"')
      return `only what has reached its threshold is claimed, and it is ${ask("Stored.status")}`;
    if (ask(`Backed(Stored, ${here}.decision[2])`) !== "true")
      return "a claim needs the threshold's number of recorded votes for its value, and nobody against it";
    if (ask(`Stored.unanimous \\/ settled[Tx]`) !== "true")
      return "a claim waits for the settle window unless all agree";
  }
  if (kind === "confirm" && ask("Stored.status") !== '"SUBMITTED"')
    return `only what is SUBMITTED is confirmed, and it is ${ask("Stored.status")}`;
  for (const [question, guard] of QUESTIONS)
    if (ask(question.replaceAll("E", here)) === "false") return guard;
  if (kind === "commit" && ask("due[Tx]") === "false" && ask(`${here}.record`) === "true")
    if (ask("Stored.absent") === "NONE" && ask(`${here}.absent`) !== "NONE")
      return "silence is judged once the deadline has passed";
  if (kind !== "commit") return `${kind} is not enabled here`;
  const judge = ask("NeedsJudging(Tx)") === "true" && "record" in Object(tla);
  const decided = ask(
    `Put(Stored, ${here}.new, Decide(Stored, ${here}.new, ${here}.doubles, ${judge ? "TRUE" : "FALSE"}, FALSE, bans))`,
  );
  return `the rules decide otherwise; they come to ${decided}, and what was written comes to ${ask(`Recorded(${here})`)}`;
}
