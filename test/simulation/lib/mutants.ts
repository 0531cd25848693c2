import type { SimProcess } from "@quorate/testkit";
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

/** A mistake that is planted on purpose, to see that the laws find it. */
export interface Mutant {
  readonly name: string;
  readonly wrong: string;
  readonly node?: NodeMutation;
  readonly submitter?: SubmitterMutation;
}

export const MUTANTS: readonly Mutant[] = [];
