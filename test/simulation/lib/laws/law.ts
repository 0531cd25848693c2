/** The laws, by the numbers of DESIGN's invariants where it has one. */
export type LawName =
  | "I1 one effect"
  | "I2 no effect without votes"
  | "I3 no submission after an abort"
  | "I4 conflicts end in a proof"
  | "I5 no ban without evidence"
  | "I6 honest trustees are never proven guilty"
  | "I7 counts are votes"
  | "I8 no accepted vote is lost"
  | "I9 refusals have receipts"
  | "I10 history is the fold of what happened"
  | "I11 nothing is visible before it is committed"
  | "votes are genuine"
  | "the state machine"
  | "dissent is not forgotten"
  | "what is sent was stored"
  | "one live nonce"
  | "fenced leaders change nothing"
  | "everything settles"
  | "a calm world confirms everything"
  | "no assertion fails";

export interface Finding {
  readonly law: LawName;
  readonly text: string;
  readonly atMs: number;
}

export type Accuse = (law: LawName, text: string) => void;

/** Who is who, as the laws need it: not the product's own types. */
export interface Roll {
  readonly clusterId: string;
  /** By epoch; grows. */
  readonly epochs: Map<
    number,
    { readonly threshold: number; readonly nodeIds: ReadonlySet<string> }
  >;
  readonly strictAbort: boolean;
  readonly members: readonly {
    readonly nodeId: string;
    readonly peerId: string;
    readonly publicKey: Uint8Array;
    readonly isHonest: boolean;
  }[];
}
