import type { SendOutcome } from "@quorate/ports";

// The only place where an endpoint's words are matched. JSON-RPC fixes no codes
// for these cases (geth says -32000 for all, Anvil -32003), so the text is all there is.
//
// A class never decides anything. It is advice for the clock: when to look again, and what to tell a
// person. Whether a nonce is used, a transaction mined or a value recorded is read from counts,
// receipts and the contract at named blocks. So a text that is new, reworded or a lie costs at most
// time, and text nobody listed here is "unknown", which is handled as "perhaps it arrived".
//
// Each text was looked up in the client's own source (2026): geth core/error.go and core/txpool,
// reth rpc-eth-types/src/error, nethermind TxPoolErrorMessages and AcceptTxResult, erigon
// txpoolcfg, besu RpcErrorType, anvil eth/error.rs. Nethermind took over geth's words in 2026; its
// own older ones stay, for nodes that are not updated.

/** The classes that an endpoint's refusal of a raw transaction can fall into. */
export type SendErrorClass = Exclude<SendOutcome["kind"], "accepted" | "unreachable">;

interface Rule {
  readonly kind: Exclude<SendErrorClass, "unknown">;
  readonly pattern: RegExp;
  /** The clients that are known to say it. */
  readonly clients: string;
}

// Tried from the top. The narrower text stands before the wider one:
// "replacement transaction underpriced" also contains "transaction underpriced".
const SEND_RULES: readonly Rule[] = [
  {
    kind: "already-known",
    pattern: /\balready known\b/,
    clients: "geth, reth, erigon, nethermind",
  },
  { kind: "already-known", pattern: /\balready imported\b/, clients: "anvil, openethereum" },
  { kind: "already-known", pattern: /\bknown transaction\b/, clients: "besu, old geth" },
  { kind: "already-known", pattern: /^alreadyknown\b/, clients: "old nethermind" },
  { kind: "already-known", pattern: /existing txn? with same hash/, clients: "erigon" },
  // EIP-7702: somebody else's nonce, not the sender's.
  {
    kind: "rejected",
    pattern: /authority nonce|(?:address|authority) already reserved|delegat(?:ed|ion)/,
    clients: "geth, reth, erigon, nethermind",
  },
  {
    kind: "nonce-too-low",
    pattern: /\bnonce(?: is)? too low\b/,
    clients: "geth, reth, erigon, besu, nethermind, anvil",
  },
  { kind: "nonce-too-low", pattern: /^oldnonce\b/, clients: "old nethermind" },
  {
    kind: "underpriced",
    pattern: /replacement transaction underpriced/,
    clients: "geth, reth, erigon, besu, nethermind, anvil",
  },
  {
    kind: "underpriced",
    pattern: /insufficient gas price to replace/,
    clients: "anvil, old reth",
  },
  {
    kind: "underpriced",
    pattern: /could not replace existing tx|replaced by transaction with higher tip/,
    clients: "erigon",
  },
  { kind: "underpriced", pattern: /^replacementnotallowed\b/, clients: "old nethermind" },
  { kind: "underpriced", pattern: /another transaction with same nonce/, clients: "openethereum" },
  { kind: "underpriced", pattern: /^ownnoncealreadyused\b/, clients: "old nethermind" },
  {
    kind: "fee-too-low",
    pattern: /max fee per gas less than block base fee/,
    clients: "geth, reth, erigon, anvil",
  },
  {
    kind: "fee-too-low",
    pattern: /(?<!blob )gas price below (?:current base fee|configured minimum|minimum)/,
    clients: "besu, geth",
  },
  {
    kind: "fee-too-low",
    pattern: /priority fee below minimum/,
    clients: "reth",
  },
  {
    kind: "fee-too-low",
    pattern: /\btransaction underpriced\b/,
    clients: "geth, reth, nethermind",
  },
  { kind: "fee-too-low", pattern: /^underpriced\b|: underpriced\b/, clients: "erigon" },
  { kind: "fee-too-low", pattern: /\bfee too low\b/, clients: "erigon" },
  { kind: "fee-too-low", pattern: /^feetoolow/, clients: "old nethermind" },
  { kind: "fee-too-low", pattern: /gas price is too low/, clients: "openethereum" },
  {
    kind: "insufficient-funds",
    pattern: /insufficient funds/,
    clients: "geth, reth, erigon, nethermind, anvil",
  },
  { kind: "insufficient-funds", pattern: /^insufficientfunds\b/, clients: "old nethermind" },
  { kind: "insufficient-funds", pattern: /upfront cost exceeds account balance/, clients: "besu" },
  {
    kind: "rejected",
    pattern: /intrinsic ?gas\b/,
    clients: "geth, reth, erigon, anvil, besu",
  },
  {
    kind: "rejected",
    pattern: /exceeds (?:the )?(?:configured cap|block gas limit|max transaction gas limit)/,
    clients: "geth, reth, besu",
  },
  {
    kind: "rejected",
    pattern: /fee cap exceeded|gas limit cap exceeded|not authorized to send/,
    clients: "besu",
  },
  {
    kind: "rejected",
    pattern: /priority fee per gas (?:higher than|exceeds) max fee/,
    clients: "geth, reth, anvil, besu",
  },
  {
    kind: "rejected",
    pattern: /^gaslimitexceeded\b|gas limit (?:is )?too (?:high|low)|gas limit reached/,
    clients: "nethermind, erigon, reth, geth",
  },
  {
    kind: "rejected",
    pattern: /gas limit is greater than the block gas limit/,
    clients: "anvil",
  },
  {
    kind: "rejected",
    pattern: /nonce too high|^noncegap\b|nonce (?:is )?too (?:distant|far)|nonce has max value/,
    clients: "geth, reth, nethermind, besu",
  },
  {
    kind: "rejected",
    pattern: /lower nonce exists|future transaction tries to replace pending/,
    clients: "besu, geth",
  },
  {
    kind: "rejected",
    pattern:
      /invalid (?:sender|chain ?id|signature|transaction signature)|failed to recover sender|transaction invalid/,
    clients: "geth, reth, erigon, besu, nethermind",
  },
  {
    kind: "rejected",
    pattern:
      /(?:wrong|incorrect) chain ?id|chain ?id (?:does(?: not|n't) match|not supported)|signed for another chain/,
    clients: "besu, anvil",
  },
  {
    kind: "rejected",
    pattern: /pool is full|pool not enabled|account limit exceeded|\bspammer\b/,
    clients: "geth, reth, besu, erigon",
  },
  {
    kind: "rejected",
    pattern: /node is syncing|sync is still in progress/,
    clients: "nethermind, besu",
  },
  {
    kind: "rejected",
    pattern:
      /(?:transaction type|type) (?:is )?not (?:supported|activated)|invalid transaction type|unsupported transaction type|type conflict|oversized data|transaction too large|cost overflow/,
    clients: "geth, reth, erigon, besu, nethermind",
  },
  {
    kind: "rejected",
    pattern: /sender (?:is )?not an eoa/,
    clients: "geth, reth, nethermind, anvil",
  },
];

/** Which class an endpoint's refusal of a raw transaction falls into; text never seen before is "unknown". */
export function classifySendError(text: string): SendErrorClass {
  const words = text.trim().toLowerCase();
  return SEND_RULES.find((rule) => rule.pattern.test(words))?.kind ?? "unknown";
}

const REVERT_CODE = 3;

/** Whether a failed eth_call or eth_estimateGas means that the contract reverted. */
export function isRevert(code: number | null, text: string): boolean {
  return code === REVERT_CODE || /\brevert(?:ed)?\b|vm execution error/i.test(text);
}

/** Whether an endpoint says that it has no such block (yet), rather than that something failed. */
export function isBlockMissing(text: string): boolean {
  return /unknown block|(?:finalized|safe) block not found|block not found|header not found/i.test(
    text,
  );
}

const METHOD_MISSING_CODE = -32_601;

/** Whether an endpoint lacks the method. */
export function isMethodMissing(code: number | null, text: string): boolean {
  return (
    code === METHOD_MISSING_CODE ||
    /method (?:not found|.* does not exist|.* not (?:supported|available))/i.test(text)
  );
}

/** Whether eth_getLogs refused the range as too wide or too rich; a narrower one may pass. */
export function isRangeTooWide(text: string): boolean {
  return /range|too many|more than \d+ results|limit exceeded|response size/i.test(text);
}
