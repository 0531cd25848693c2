/** What the page reads of the HTTP API; docs/openapi.json describes all of it. */

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface Trustee {
  readonly nodeId: string;
  readonly peerId: string;
  readonly online: boolean;
  readonly banned: boolean;
  readonly banReason: string | null;
  readonly version: string | null;
  readonly upSince: string | null;
  readonly participation: { readonly votes: number; readonly transactions: number };
  readonly lastVoteAt: string | null;
  /** This node's clock minus the time in the trustee's last vote. */
  readonly clockOffsetMs: number | null;
}

export interface NodeStatus {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly version: string;
  readonly epoch: number;
  readonly threshold: number;
  readonly totalNodes: number;
  readonly ready: boolean;
  readonly checks: readonly Check[];
  readonly trustees: readonly Trustee[];
  readonly observers: readonly { readonly nodeId: string; readonly version: string }[];
  readonly openTransactions: number;
  readonly pendingVotes: number;
}

export interface Transaction {
  readonly txId: string;
  readonly status: string;
  readonly value?: string | null;
  readonly reason?: string | null;
  readonly epoch?: number | null;
  readonly openedAt?: string | null;
  readonly deadlineAt?: string | null;
  readonly absent?: readonly string[] | null;
  readonly votes?: readonly {
    readonly nodeId: string;
    readonly value: string;
    readonly issuedAt: string;
  }[];
  readonly violations?: readonly {
    readonly nodeId: string;
    readonly type: string;
    readonly grade: string;
  }[];
  readonly chain?: { readonly txHash: string; readonly blockNumber: string } | null;
}

export interface Ban {
  readonly peerId: string;
  readonly nodeId: string | null;
  readonly reason: string;
  readonly grade: string;
  readonly bannedAt: string;
  readonly evidenceId?: string | null;
}

export interface Evidence {
  readonly id: string;
  readonly txId: string;
  readonly peerId: string;
  readonly nodeId: string | null;
  readonly type: string;
  readonly grade: string;
  readonly detectedAt: string;
  readonly finding?: string | null;
  readonly problem?: string | null;
  readonly rule?: string | null;
  readonly evidence?: unknown;
}

export interface SubmitterStatus {
  readonly version: string;
  readonly leading: boolean;
  readonly address: string;
  readonly chainId: number;
  readonly contractAddress: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly projectorRevision: string | null;
  readonly checks: readonly Check[];
  readonly clusterId: string;
}

export interface Sender {
  readonly nextNonce: string | null;
  readonly frozen: { readonly reason: string; readonly since: string } | null;
  readonly liveNonces: readonly string[];
  readonly gaps: readonly string[];
  readonly chain: {
    readonly latestNonce: string | null;
    readonly pendingNonce: string | null;
    readonly finalizedBlock: string | null;
    readonly problem: string | null;
  };
}

export interface Reputation {
  readonly peerId: string;
  readonly nodeId: string | null;
  readonly score: number;
  readonly totalVotes: number;
  readonly violations: number;
  readonly lastSeenAt: string;
}

export interface Submission {
  readonly txId: string;
  readonly value: string;
  readonly state: string;
  readonly nonce: string | null;
  readonly txHash: string | null;
  readonly blockNumber: string | null;
  readonly reason: string | null;
  readonly queuedAt: string;
  readonly finalizedAt: string | null;
  readonly confirmedAt: string | null;
  readonly history?: readonly {
    readonly nonce: string;
    readonly to: string;
    readonly at: string;
    readonly reason: string | null;
  }[];
}

/** The submitter, asked by the node for the page, or asked directly; each part null where it did not answer. */
export interface SubmitterView {
  readonly problem: string | null;
  readonly explorerUrl: string | null;
  readonly status: SubmitterStatus | null;
  readonly sender: Sender | null;
  readonly reputations: readonly Reputation[];
  readonly submissions: readonly Submission[];
}

export type CommittedEvent =
  | { readonly type: "transaction"; readonly transaction: Transaction }
  | ({ readonly type: "ban" } & Ban)
  | { readonly type: "unban"; readonly peerId: string }
  | {
      readonly type: "violation";
      readonly txId: string;
      readonly peerId: string;
      readonly nodeId: string | null;
      readonly violation: string;
      readonly grade: string;
      readonly detectedAt: string;
    }
  | { readonly type: "presence"; readonly peerId: string; readonly online: boolean }
  | { readonly type: "epoch"; readonly epoch: number };
