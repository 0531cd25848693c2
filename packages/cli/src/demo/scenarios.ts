import type { AbortReason, ProtocolConfig, TxStatus, ViolationType } from "@quorate/core";

/** How a scenario must end. */
export interface Expectation {
  readonly status: Extract<TxStatus, "CONFIRMED" | "ABORTED_BYZANTINE">;
  /** What the contract must hold; null: nothing at all. */
  readonly onChain: string | null;
  readonly reason: AbortReason | null;
  readonly banned: readonly string[];
  readonly violations: readonly ViolationType[];
  /** Recorded votes of each value. */
  readonly votes: Readonly<Record<string, number>>;
  /** The same in words. */
  readonly words: string;
}

/** What a scenario may do. */
export interface Stage {
  /** A trustee votes through its own node. */
  cast(nodeId: string, value: string): Promise<void>;
  /** A peer with the trustee's key publishes a well-signed vote, whatever it signed before. */
  publish(nodeId: string, value: string): Promise<void>;
  /** The same with the vote's own signature spoiled. */
  publishTampered(nodeId: string, value: string): Promise<void>;
  /** Waits until the transaction has one of these statuses. */
  reached(...statuses: readonly TxStatus[]): Promise<void>;
  /** Waits until the trustee's vote is recorded. */
  recorded(nodeId: string): Promise<void>;
  /** Waits until the trustee is banned. */
  banned(nodeId: string): Promise<void>;
  say(text: string): void;
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** Trustees whose node is not started. */
  readonly absent: readonly string[];
  /** A misbehaving peer takes the place of the absent trustee. */
  readonly impostor: boolean;
  readonly protocol: Partial<ProtocolConfig>;
  readonly expected: Expectation;
  act(stage: Stage): Promise<void>;
}

export const TRUSTEES = 5;
export const THRESHOLD = 4;

const FOUR = ["trustee-1", "trustee-2", "trustee-3", "trustee-4"] as const;
const LAST = "trustee-5";

// Long enough to dissent in, on a busy machine too.
const SETTLE = { settleMs: 1_500 };
// The deadline plays a part in one scenario only; in the others it must not come into play.
const FAR_DEADLINE = { ...SETTLE, deadlineMs: 60_000 };
const NEAR_DEADLINE = { ...SETTLE, deadlineMs: 5_000 };

async function castAll(stage: Stage, nodeIds: readonly string[], value: string): Promise<void> {
  for (const nodeId of nodeIds) await stage.cast(nodeId, value);
}

const HONEST = { absent: [], impostor: false, protocol: FAR_DEADLINE };
const IMPOSTOR = { absent: [LAST], impostor: true, protocol: FAR_DEADLINE };
const MINORITY = {
  status: "ABORTED_BYZANTINE",
  onChain: null,
  reason: "MINORITY_VOTE",
  banned: [LAST],
  violations: ["MINORITY_VOTE"],
  votes: { "1": 4, "2": 1 },
} as const;

/** The seven, in order. @see spec §3 */
export const SCENARIOS: readonly Scenario[] = [
  {
    ...HONEST,
    name: "consensus",
    title: "all five agree",
    expected: {
      status: "CONFIRMED",
      onChain: "1",
      reason: null,
      banned: [],
      violations: [],
      votes: { "1": 5 },
      words: "value 1 on the chain, nobody banned",
    },
    act: (stage) => castAll(stage, [...FOUR, LAST], "1"),
  },
  {
    ...HONEST,
    name: "minority-late",
    title: "four agree, then one dissents within the settle window",
    expected: { ...MINORITY, words: "aborted, nothing on the chain, trustee-5 banned" },
    act: async (stage) => {
      await castAll(stage, FOUR, "1");
      await stage.reached("THRESHOLD_REACHED");
      await stage.cast(LAST, "2");
    },
  },
  {
    ...HONEST,
    name: "minority-first",
    title: "the dissenter votes first, then four agree on another value",
    expected: { ...MINORITY, words: "aborted, nothing on the chain, trustee-5 banned" },
    act: async (stage) => {
      await stage.cast(LAST, "2");
      await castAll(stage, FOUR, "1");
    },
  },
  {
    ...IMPOSTOR,
    name: "double-vote",
    title: "one trustee signs two different values",
    expected: {
      status: "ABORTED_BYZANTINE",
      onChain: null,
      reason: "DOUBLE_VOTING",
      banned: [LAST],
      violations: ["DOUBLE_VOTING"],
      votes: { "1": 5 },
      words: "aborted, nothing on the chain, trustee-5 banned with both signatures as proof",
    },
    act: async (stage) => {
      await castAll(stage, FOUR.slice(0, 2), "1");
      await stage.publish(LAST, "1");
      await stage.recorded(LAST);
      await stage.publish(LAST, "2");
      await stage.banned(LAST);
      stage.say("the others still vote; it is recorded and changes nothing");
      await castAll(stage, FOUR.slice(2), "1");
    },
  },
  {
    ...IMPOSTOR,
    name: "bad-signature",
    title: "one trustee publishes a vote with a spoiled signature",
    expected: {
      status: "CONFIRMED",
      onChain: "1",
      reason: null,
      banned: [LAST],
      violations: ["INVALID_SIGNATURE"],
      votes: { "1": 4 },
      words: "trustee-5 banned, its vote dropped; the other four's value 1 on the chain",
    },
    act: async (stage) => {
      await castAll(stage, FOUR.slice(0, 2), "1");
      await stage.publishTampered(LAST, "1");
      await stage.banned(LAST);
      stage.say("the transaction goes on without it: else any outsider could kill any transaction");
      await castAll(stage, FOUR.slice(2), "1");
    },
  },
  {
    absent: [LAST],
    impostor: false,
    protocol: NEAR_DEADLINE,
    name: "silent",
    title: "one trustee is down",
    expected: {
      status: "CONFIRMED",
      onChain: "1",
      reason: null,
      banned: [],
      violations: ["SILENT_FAILURE"],
      votes: { "1": 4 },
      words: "value 1 on the chain; after the deadline the silence is recorded, nobody banned",
    },
    act: (stage) => castAll(stage, FOUR, "1"),
  },
  {
    ...HONEST,
    name: "split",
    title: "two, two and one: no value can reach four",
    expected: {
      status: "ABORTED_BYZANTINE",
      onChain: null,
      reason: "SPLIT_VOTE",
      banned: [],
      violations: [],
      votes: { "1": 2, "2": 2, "3": 1 },
      words: "aborted as soon as no value can win; nobody banned, for there is no majority",
    },
    act: async (stage) => {
      await castAll(stage, FOUR.slice(0, 2), "1");
      await castAll(stage, FOUR.slice(2), "2");
      await stage.cast(LAST, "3");
    },
  },
];
