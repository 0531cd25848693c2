import type { SimProcess, TallyGuard } from "@quorate/testkit";
import { NODE_MUTANTS } from "./mutants-of-nodes.ts";
import { SUBMITTER_MUTANTS } from "./mutants-of-submitters.ts";
import type { NodePorts } from "./node-seat.ts";
import type { AllSubmitterPorts } from "./submitter-seat.ts";
import type { World } from "./world.ts";

export interface Surroundings {
  readonly world: World;
  readonly process: SimProcess;
}

export type NodeMutation = (ports: NodePorts, around: Surroundings) => NodePorts;
export type SubmitterMutation = (
  ports: AllSubmitterPorts,
  around: Surroundings,
) => AllSubmitterPorts;

/** A mistake that is planted on purpose, to see that the laws find it. Production code carries no switch for it: it sits at a seam. */
export interface Mutant {
  readonly name: string;
  readonly wrong: string;
  readonly node?: NodeMutation;
  readonly submitter?: SubmitterMutation;
  /** Guards that the commit's Txn goes without. */
  readonly forgottenGuards?: readonly TallyGuard[];
  /** The leader epoch is not looked at in the database. */
  readonly isUnfenced?: boolean;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no-status-guard",
    wrong: "commits a decision whatever has been decided since it was read",
    forgottenGuards: ["status"],
  },
  {
    name: "no-vote-guard",
    wrong: "writes a vote key that is there already",
    forgottenGuards: ["status", "vote"],
  },
  {
    name: "no-ban-guard",
    wrong: "records the vote of a trustee that is banned meanwhile",
    forgottenGuards: ["ban"],
  },
  {
    name: "abort-after-claim",
    wrong: "decides on a transaction that is decided already",
    forgottenGuards: ["status", "decision"],
  },
  {
    name: "fenced-leader-goes-on",
    wrong: "lets a deposed leader write",
    isUnfenced: true,
  },
  ...NODE_MUTANTS,
  ...SUBMITTER_MUTANTS,
];

/** @throws Error naming those there are. */
export function findMutant(name: string): Mutant {
  const found = MUTANTS.find((mutant) => mutant.name === name);
  if (found !== undefined) return found;
  const names = MUTANTS.map((mutant) => mutant.name).join(", ");
  throw new Error(`there is no mutant ${JSON.stringify(name)}; there are ${names}`);
}
