import type { VoteJson } from "@quorate/core";
import type { StandaloneViolation } from "./tally-store.ts";

/** What a node has found out and not yet seen recorded. */
export type Accusation =
  | { readonly kind: "violation"; readonly entry: StandaloneViolation }
  /** Two votes by one key that differ: decided in their transaction once they can be. */
  | { readonly kind: "conflict"; readonly first: VoteJson; readonly second: VoteJson };

/**
 * Evidence on this node's own disk until it is in the tally: a node that is killed
 * between detection and record must not take the only proof with it.
 */
export interface AccusationJournal {
  /** What was appended and not settled, oldest first. Called once, before the first `append`. */
  load(): Promise<readonly Accusation[]>;
  /** Durable when it returns. Rare (at most a few for each offender), so it may block. @throws when the disk refuses */
  append(accusation: Accusation): void;
  /** Forgets everything appended so far: it is all recorded. */
  clear(): Promise<void>;
  close(): Promise<void>;
}
