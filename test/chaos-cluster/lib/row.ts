import type { Halves } from "./namespaces.ts";
import type { RigRequest } from "./rig.ts";
import type { Scene } from "./scene.ts";

/** What a row needs before its cluster starts. */
export interface Ground {
  readonly rig?: Partial<
    Pick<
      RigRequest,
      "seatOf" | "placementOf" | "absent" | "protocol" | "nodeSettings" | "submitterSettings"
    >
  >;
  /** Trustees of whom no honest client casts votes. */
  readonly guilty?: readonly number[];
  /** Put away when the row is over, however it ended. */
  readonly halves?: Halves;
}

/** One line of the specification's Table 10. */
export interface Row {
  readonly name: string;
  /** As Table 10 names it. */
  readonly title: string;
  readonly injects: string;
  readonly expects: string;
  readonly trustees: number;
  readonly threshold: number;
  /** Why it can't be run here; null when it can. */
  readonly unfit?: () => string | null;
  prepare?(ground: GroundRequest): Promise<Ground>;
  /** With load on all the time. Says what it finds to the scene. */
  run(scene: Scene): Promise<void>;
}

export interface GroundRequest {
  readonly etcdEndpoints: readonly string[];
  readonly directory: string;
  readonly seed: number;
}

/** What came of one row. */
export interface RowResult {
  readonly name: string;
  readonly title: string;
  readonly injects: string;
  readonly expects: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Why it failed or was skipped; empty when it passed. */
  readonly problems: readonly string[];
  readonly remarks: readonly string[];
  /** What the row should show and could not here, and why: all of it when it was skipped. */
  readonly notRun: readonly string[];
  /** In ms by the monotonic clock. */
  readonly recovery: Readonly<Record<string, number>>;
  readonly figures: Readonly<Record<string, number | string>>;
  readonly invariants: {
    readonly violations: number;
    readonly acceptedVotes: number;
    readonly acceptedLost: number;
    readonly transactions: number;
    readonly votes: number;
    readonly signaturesVerified: number;
    readonly recordedOnChain: number;
    readonly bans: readonly string[];
  } | null;
  /** Changes of durable state that were held against the model; null when it did not come so far. */
  readonly trace: {
    readonly files: number;
    readonly steps: number;
    readonly commits: number;
    readonly refused: number;
  } | null;
  readonly seconds: number;
}
