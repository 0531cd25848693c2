/**
 * Every bound of the protocol in one place, each with the reason for its number.
 * A bound that is not here is a bug: nothing in Quorate may grow without one.
 */
export const LIMITS = {
  /** Longest transaction id, in characters. It becomes part of etcd keys and URLs; 128 keeps both short. */
  txIdCharsMax: 128,
  /** Longest operator-chosen node id, in characters: a DNS label. */
  nodeIdCharsMax: 63,
  /** Longest cluster id, in characters: a DNS label. */
  clusterIdCharsMax: 63,
  /** Largest value: a u64. */
  valueMax: 2n ** 64n - 1n,
  /** Trustees in one set. A commit folds one transaction's votes into one etcd Txn of at most 128 operations. */
  trusteesMax: 100,
  /** One canonical vote, in bytes: 7 length-prefixed fields at their longest are 319. */
  voteLeafBytesMax: 512,
  /** One vote with its proof, in bytes (leaf, signature, 8 siblings): what is stored and carried as evidence. */
  voteProofBytesMax: 4_096,
  /** Votes under one signature: 8 levels of Merkle path, and a frame that still fits `voteFrameBytesMax`. */
  votesPerFrameMax: 256,
  /** One gossip frame, in bytes: 256 votes of ordinary length, and less than a yamux window. */
  voteFrameBytesMax: 65_536,
  /** What a frame may carry beside its votes, in bytes: its length is one byte. */
  frameExtensionBytesMax: 255,
  /** Votes of one frame whose trace goes on at the other nodes: 201 bytes with all, a hundredth of a full frame. */
  frameTracesMax: 8,
  /**
   * Votes of one author that a node traces, and transactions that a submitter does: seven to ten spans each, 0.2 ms of a core.
   * More is not needed to see where time goes, and nobody must be able to have everything traced.
   */
  tracedVotes: { perSecond: 20, burst: 100 },
  tracedSubmissions: { perSecond: 50, burst: 200 },
  /** Transactions whose trace a submitter can go on with: more than are in flight. */
  tracedSubmissionsKeptMax: 5_000,
  /** Own votes that are being traced between the request and their frame: more than two frames hold. */
  tracedCastsMax: 1_000,
  /** Latest time that a vote may carry, in ms since the Unix epoch: beyond it ECMAScript has no dates. */
  issuedAtMsMax: 8_640_000_000_000_000,
  /** A vote's clock difference that passes without remark, in ms. */
  clockSkewToleratedMs: 5_000,
  /** A vote's clock difference beyond which it is refused as stale or from the future, in ms. */
  clockSkewRejectedMs: 30_000,
  /** GossipSub duplicate cache: entries and their life in ms. */
  gossipSeenMax: 10_000,
  gossipSeenTtlMs: 60_000,
  /** Content-hash duplicate cache of votes: a re-publish under a new sequence number is still the same vote. */
  voteSeenMax: 100_000,
  /** Own votes that a node remembers having signed. Older ones are looked up in etcd. */
  journalVotesMax: 100_000,
  /** Votes waiting in a node's memory to be committed. Beyond it new votes are refused with a receipt. */
  pendingVotesMax: 50_000,
  /** Transactions that a node holds in its view of the tally, older finished ones dropped first: about 8 kB each with five votes, of the 512 MB a node has. */
  viewTransactionsMax: 20_000,
  /**
   * Majority votes that the evidence of one commit may hold. Each dissenter's violation and ban carry t of them, about
   * 1 kB each with its place in a large frame, and etcd takes 1.5 MiB: of many dissenters the rest comes with the next commit.
   */
  evidenceVotesPerCommitMax: 800,
  /** Trustee sets kept in force for old transactions and evidence: one a change, and a set of 100 is 20 kB. */
  epochsKept: 64,
  /** Life of receipts in etcd, in seconds: history has them long before, and etcd must not fill with refusals. */
  receiptsTtlSeconds: 3_600,
  /** Receipts in one etcd value: about 600 B each, far below a request's 1.5 MiB. */
  receiptsPerWriteMax: 100,
  /** Frames of one author a node judges: an honest one publishes one in 30 ms, and one a vote when batching is off. */
  authorFrames: { perSecond: 100, burst: 300 },
  /**
   * Transactions of one author that too few others have voted on, at once. An honest author that is half a second ahead of
   * the others at 2,000 transactions a second has half of it; a flood ends at what a node records in a second or two.
   */
  authorLoneTransactionsMax: 2_000,
  /** Frames of one author with votes past their time whose signature is checked all the same: an honest one sends none, and two that differ prove a double vote. */
  authorStaleFrames: { perSecond: 5, burst: 20 },
  /** Authors whose allowance is kept: all trustees of several epochs. */
  authorAllowancesMax: 1_000,
  /** Violations that evidence of a low score names, newest first: enough to judge by, and 6 kB. */
  reputationViolationsMax: 50,
  /** Peers whose reputation is read at once: every trustee of every epoch that is kept. */
  reputationsMax: 6_400,
  /** Votes of refused messages remembered to be held against later ones (equivocation outside the tally). */
  refusedVotesMax: 20_000,
  /** Operations in one etcd Txn, parent and deepest child together (etcd's default). */
  etcdTxnOpsMax: 128,
  /** Results in one chain transaction: above this gas per result stops falling (25 k each). */
  chainBatchMax: 200,
  /** Unconfirmed chain transactions of one sender (geth keeps 16 executable slots per account). */
  nonceWindowDefault: 8,
  nonceWindowMax: 16,
  /** An exported evidence file, in bytes: the largest, 200 votes with two sets of 100 trustees, stays below 450 kB. */
  evidenceFileBytesMax: 524_288,
  /** Why a ban was lifted, in characters, and who did it: kept in etcd for ever. */
  liftReasonCharsMax: 500,
  operatorCharsMax: 100,
  /** Request body of the HTTP API, in bytes: a vote request is under 300. */
  httpBodyBytesMax: 8_192,
  /** Entries of any list in one line of a step file: a claim or a listing of bans has at most so many, and a longer one is no line of ours. */
  stepItemsMax: 10_000,
  /** One step file, in bytes, beyond which the recording ends: about three million steps, and less than a disk has. */
  stepFileBytesMax: 1_073_741_824,
} as const;
