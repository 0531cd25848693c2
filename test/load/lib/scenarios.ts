import type { Machine } from "../../bench/machine.ts";

/** A scenario as the specification has it (§14.3). */
export interface Scenario {
  readonly name: string;
  readonly nodes: number;
  readonly threshold: number;
  readonly perSecond: number;
  readonly seconds: number;
  readonly byzantine: number;
  /** What fits on one small machine without asking it for more processes than it can schedule. */
  readonly nodesHere: number;
  readonly secondsHere: number;
  /** Share of what the machine could do at its utmost that is asked of it. */
  readonly share: number;
}

const HOUR_SECONDS = 3_600;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "baseline",
    nodes: 10,
    threshold: 7,
    perSecond: 100,
    seconds: HOUR_SECONDS,
    byzantine: 0,
    nodesHere: 10,
    secondsHere: 60,
    share: 0.2,
  },
  {
    name: "burst",
    nodes: 50,
    threshold: 34,
    perSecond: 1_000,
    seconds: 600,
    byzantine: 0,
    nodesHere: 10,
    secondsHere: 30,
    share: 0.4,
  },
  {
    name: "scale",
    nodes: 100,
    threshold: 67,
    perSecond: 500,
    seconds: 1_800,
    byzantine: 0,
    nodesHere: 15,
    secondsHere: 45,
    share: 0.2,
  },
  {
    name: "sustained",
    nodes: 10,
    threshold: 7,
    perSecond: 50,
    seconds: 24 * HOUR_SECONDS,
    byzantine: 0,
    nodesHere: 10,
    secondsHere: 80,
    share: 0.1,
  },
  {
    name: "byzantine",
    nodes: 10,
    threshold: 7,
    perSecond: 100,
    // The specification gives it no length.
    seconds: 600,
    byzantine: 3,
    nodesHere: 10,
    secondsHere: 40,
    share: 0.15,
  },
];

/** What is run, and what became smaller by how much. */
export interface Plan {
  readonly scenario: Scenario;
  readonly nodes: number;
  readonly threshold: number;
  readonly perSecond: number;
  readonly seconds: number;
  readonly byzantine: number;
  readonly factors: readonly {
    readonly what: string;
    readonly specified: number;
    readonly here: number;
    readonly factor: number;
  }[];
}

/** CPU of all nodes for one vote at one node, in ms, on a machine that verifies a signature in `VERIFY_MICROS`. From `npm run bench`. */
const DELIVERY_MS = 0.45;
const VERIFY_MICROS = 111;
const RATE_MIN = 1;

/** @param wanted what the caller asks for instead of what fits here */
export function planOf(
  scenario: Scenario,
  machine: Pick<Machine, "cpus" | "verifyMicros">,
  wanted: { readonly nodes?: number; readonly perSecond?: number; readonly seconds?: number },
): Plan {
  const nodes = wanted.nodes ?? scenario.nodesHere;
  // The same share of the trustees as in the specification.
  const threshold = Math.ceil((nodes * scenario.threshold) / scenario.nodes);
  const slower = Math.max(1, machine.verifyMicros / VERIFY_MICROS);
  // Each of N votes on a transaction is work for each of N nodes.
  const utmost = (machine.cpus * 1_000) / (nodes * nodes * DELIVERY_MS * slower);
  const fits = Math.max(RATE_MIN, Math.round(scenario.share * utmost));
  const perSecond = wanted.perSecond ?? Math.min(scenario.perSecond, fits);
  const seconds = wanted.seconds ?? scenario.secondsHere;
  const byzantine = Math.round((nodes * scenario.byzantine) / scenario.nodes);
  const factor = (what: string, specified: number, here: number) => ({
    what,
    specified,
    here,
    factor: here / specified,
  });
  return {
    scenario,
    nodes,
    threshold,
    perSecond,
    seconds,
    byzantine,
    factors: [
      factor("nodes", scenario.nodes, nodes),
      factor("threshold", scenario.threshold, threshold),
      factor("transactions a second", scenario.perSecond, perSecond),
      factor("seconds", scenario.seconds, seconds),
      factor("Byzantine nodes", Math.max(1, scenario.byzantine), byzantine),
    ].filter(({ what }) => what !== "Byzantine nodes" || scenario.byzantine > 0),
  };
}
