import type { Setting } from "./load-settings.ts";

const COMMON: readonly Setting[] = [
  { path: "clusterId", kind: "text", flag: "cluster-id", help: "the cluster's name" },
  { path: "keyFile", kind: "text", flag: "key-file", help: "file with this process's key" },
  { path: "etcd.hosts", kind: "list", flag: "etcd", help: "etcd endpoints, separated by commas" },
  { path: "etcd.requestTimeoutMs", kind: "number", help: "one etcd request, in ms" },
  { path: "etcd.dialTimeoutMs", kind: "number", help: "connecting to etcd, in ms" },
  { path: "api.host", kind: "text", flag: "api-host", help: "address the HTTP API listens on" },
  {
    path: "api.port",
    kind: "number",
    flag: "api-port",
    help: "port the HTTP API listens on; 0 picks one",
  },
  {
    path: "api.tokensFile",
    kind: "text",
    help: "file with the tokens of the HTTP API; without it only this machine may use it",
  },
  { path: "log.level", kind: "text", flag: "log-level", help: "error, warn, info or debug" },
  { path: "tracing.otlpUrl", kind: "text", help: "where traces go; none by default" },
  {
    path: "tracing.sampleRatio",
    kind: "number",
    help: "share of transactions that are traced, 0 to 1; 0 by default",
  },
  {
    path: "steps.directory",
    kind: "text",
    help: "folder for a record of each step on durable state; none by default",
  },
  { path: "shutdownMs", kind: "number", help: "how long a shutdown may take, in ms" },
  { path: "protocol.settleMs", kind: "number", help: "settle window, in ms" },
];

/** What a node can be told by environment or flag. */
export const NODE_SETTINGS: readonly Setting[] = [
  ...COMMON,
  { path: "nodeId", kind: "text", flag: "node-id", help: "this trustee's name" },
  { path: "journalFile", kind: "text", help: "file that remembers what this trustee signed" },
  { path: "accusationsFile", kind: "text", help: "file that keeps evidence until it is recorded" },
  { path: "network.listen", kind: "list", flag: "listen", help: "multiaddrs to listen on" },
  { path: "network.announce", kind: "list", help: "multiaddrs to announce instead" },
  {
    path: "network.bootstrap",
    kind: "list",
    flag: "bootstrap",
    help: "multiaddrs of peers to begin with",
  },
  { path: "protocol.policy", kind: "text", help: "strict-abort or quarantine-and-continue" },
  { path: "protocol.profile", kind: "text", help: "strict or balanced" },
  {
    path: "protocol.deadlineMs",
    kind: "number",
    help: "how long a transaction waits for every trustee, in ms",
  },
  {
    path: "protocol.silenceStreakMax",
    kind: "number",
    help: "silent transactions in a row that ban",
  },
  {
    path: "pipeline.windowMs",
    kind: "number",
    help: "how long votes of a transaction gather, in ms",
  },
  {
    path: "pipeline.staggerMs",
    kind: "number",
    help: "how much later each further rank writes, in ms",
  },
  { path: "pipeline.batchMax", kind: "number", help: "transactions in one commit" },
  { path: "pipeline.batchesInFlightMax", kind: "number", help: "commits at once" },
  {
    path: "publisher.windowMs",
    kind: "number",
    help: "how long own votes gather under one signature, in ms",
  },
  {
    path: "publisher.intervalMs",
    kind: "number",
    help: "least time between two frames that are not full, in ms",
  },
  {
    path: "publisher.frameVotesMax",
    kind: "number",
    help: "votes under one signature; 1 turns batching off",
  },
  { path: "submitter.url", kind: "text", help: "the submitter's HTTP API, for the web page" },
  { path: "submitter.tokenFile", kind: "text", help: "file with a token that may read there" },
  { path: "submitter.explorerUrl", kind: "text", help: "where people look transactions up" },
  { path: "presenceTtlSeconds", kind: "number", help: "life of the presence lease, in seconds" },
];

/** What the submitter can be told by environment or flag. */
export const SUBMITTER_SETTINGS: readonly Setting[] = [
  ...COMMON,
  { path: "signer.kind", kind: "text", help: "where the key is: keyFile, keystore or remote" },
  { path: "signer.file", kind: "text", help: "encrypted keystore" },
  { path: "signer.passwordFile", kind: "text", help: "file with the keystore's password" },
  { path: "signer.url", kind: "text", help: "JSON-RPC of the remote signer" },
  { path: "signer.address", kind: "text", help: "account that the remote signer signs for" },
  { path: "signer.timeoutMs", kind: "number", help: "one remote signature, in ms" },
  {
    path: "signer.authorizationFile",
    kind: "text",
    help: "file with the remote signer's authorization header",
  },
  { path: "postgres.url", kind: "text", flag: "postgres", help: "PostgreSQL connection URL" },
  { path: "postgres.schema", kind: "text", help: "schema to use" },
  { path: "chain.rpcUrls", kind: "list", flag: "rpc", help: "EVM endpoints, separated by commas" },
  { path: "chain.chainId", kind: "number", flag: "chain-id", help: "the chain's id" },
  { path: "chain.contractAddress", kind: "text", flag: "contract", help: "the recorder contract" },
  { path: "chain.pollMs", kind: "number", help: "how often a new head is looked for, in ms" },
  { path: "sender.batchMax", kind: "number", help: "results in one chain transaction" },
  { path: "sender.windowMax", kind: "number", help: "unconfirmed nonces at once" },
  { path: "sender.batchWindowMs", kind: "number", help: "how long results gather, in ms" },
  {
    path: "sender.bumpAfterMs",
    kind: "number",
    help: "an unmined transaction is replaced by one that offers more after so many ms",
  },
  {
    path: "sender.cancelAfterMs",
    kind: "number",
    help: "and by an empty one after so many ms",
  },
  { path: "sender.feeCapGwei", kind: "number", help: "most ever offered as max fee, in gwei" },
  {
    path: "sender.requeuesMax",
    kind: "number",
    help: "how often a result is sent under a new nonce before a person must look",
  },
  {
    path: "chain.deployedAtBlock",
    kind: "number",
    help: "the block of the contract's deployment",
  },
  { path: "etcd.quotaBytes", kind: "number", help: "etcd's --quota-backend-bytes, in bytes" },
  { path: "retention.intervalMs", kind: "number", help: "how often old data is collected, in ms" },
  {
    path: "retention.votesMs",
    kind: "number",
    help: "life of votes in etcd after the end of their transaction, in ms",
  },
  {
    path: "retention.recordsMs",
    kind: "number",
    help: "life of a transaction's status in etcd after its end, in ms",
  },
  {
    path: "retention.submissionsMs",
    kind: "number",
    help: "how long a confirmed submission stays among the active ones, in ms",
  },
  {
    path: "retention.voteHistoryMs",
    kind: "number",
    help: "life of votes in PostgreSQL, in ms",
  },
  { path: "retention.voteHistory", kind: "text", help: "delete or archive older votes" },
  { path: "leaseTtlSeconds", kind: "number", help: "life of the leader's lease, in seconds" },
];
