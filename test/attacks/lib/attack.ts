import type { ProtocolConfig, ViolationType } from "@quorate/core";
import type { Stage } from "./stage.ts";

/** How the cluster must take an attack. */
export type Reaction =
  /** One trustee is banned, everywhere, with evidence. */
  | { readonly kind: "ban"; readonly nodeId: string; readonly reason: ViolationType }
  /** Nobody is banned, by design; the refusals that must be counted instead, any of them. Empty: the attack checks for itself. */
  | { readonly kind: "nobody"; readonly refusedBy: readonly string[] }
  /** The attacker may or may not end up banned; nobody else may. */
  | { readonly kind: "at-most-the-attacker" };

/** One rehearsed attack. */
export interface Attack {
  readonly name: string;
  /** What the attacker does, in one sentence. */
  readonly does: string;
  /** What must come of it, in one sentence. */
  readonly expects: string;
  readonly reaction: Reaction;
  /** Trustees in the attacker's hand: their nodes don't run. Default trustee-5. */
  readonly attackers?: readonly string[];
  /** What differs from the protocol's defaults. Needs a cluster of its own. */
  readonly protocol?: Partial<ProtocolConfig>;
  /** Whether it may share a cluster with others: only one that bans nobody and leaves nothing behind. */
  readonly sharesCluster: boolean;
  /** Part of the short run. */
  readonly short: boolean;
  run(stage: Stage): Promise<void>;
}

export const TRUSTEES = 5;
export const THRESHOLD = 4;
export const ATTACKER = "trustee-5";

/** What came of one attack. */
export interface AttackResult {
  readonly name: string;
  readonly does: string;
  readonly expects: string;
  readonly passed: boolean;
  /** Each check that failed, in words. */
  readonly problems: readonly string[];
  /** Who was banned for it and who recorded that; null when nobody was. */
  readonly caught: {
    readonly banned: readonly string[];
    readonly reason: string;
    readonly recordedBy: readonly string[];
  } | null;
  /** How it was turned away instead; null when somebody was banned. */
  readonly refused: string | null;
  /** From the publication to the ban in etcd, in ms. */
  readonly banInEtcdMs: number | null;
  /** From the publication to the ban on the last honest node, in ms. */
  readonly banEverywhereMs: number | null;
  /** Whether the stored evidence holds without network and database; null when there is none to check. */
  readonly evidenceVerified: boolean | null;
  /** What the evidence proves. */
  readonly finding: string | null;
  readonly honestBanned: number;
  readonly wronglyDecided: number;
  readonly transactions: {
    readonly honest: number;
    readonly decided: number;
    readonly abortedByPolicy: number;
  };
  readonly figures: Readonly<Record<string, number | string | boolean>>;
  readonly seconds: number;
}
