import type { SendOutcome } from "@quorate/ports";

// The only place where an endpoint's words are matched. JSON-RPC fixes no codes
// for these cases (geth says -32000 for all, Anvil -32003), so the text decides.
// What comes out only schedules work; it never moves state.

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
  { kind: "already-known", pattern: /\balready known\b/, clients: "geth, reth, erigon" },
  { kind: "already-known", pattern: /\balready imported\b/, clients: "anvil, openethereum" },
  { kind: "already-known", pattern: /\bknown transaction\b/, clients: "besu, old geth" },
  { kind: "already-known", pattern: /^alreadyknown\b/, clients: "nethermind" },
  { kind: "already-known", pattern: /existing tx with same hash/, clients: "erigon" },
  {
    kind: "nonce-too-low",
    pattern: /\bnonce(?: is)? too low\b/,
    clients: "geth, reth, erigon, besu, anvil",
  },
  { kind: "nonce-too-low", pattern: /^oldnonce\b/, clients: "nethermind" },
  {
    kind: "underpriced",
    pattern: /replacement transaction underpriced/,
    clients: "geth, reth, besu, anvil",
  },
  { kind: "underpriced", pattern: /could not replace existing tx/, clients: "erigon" },
  { kind: "underpriced", pattern: /^replacementnotallowed\b/, clients: "nethermind" },
  { kind: "underpriced", pattern: /another transaction with same nonce/, clients: "openethereum" },
  { kind: "underpriced", pattern: /^ownnoncealreadyused\b/, clients: "nethermind" },
  {
    kind: "fee-too-low",
    pattern: /max fee per gas less than block base fee/,
    clients: "geth, reth, erigon, anvil",
  },
  {
    kind: "fee-too-low",
    pattern: /gas price below (?:current base fee|configured minimum)/,
    clients: "besu",
  },
  { kind: "fee-too-low", pattern: /\btransaction underpriced\b/, clients: "geth, reth" },
  { kind: "fee-too-low", pattern: /^underpriced\b|: underpriced\b/, clients: "erigon" },
  { kind: "fee-too-low", pattern: /\bfee too low\b/, clients: "erigon" },
  { kind: "fee-too-low", pattern: /^feetoolow/, clients: "nethermind" },
  { kind: "fee-too-low", pattern: /gas price is too low/, clients: "openethereum" },
  {
    kind: "insufficient-funds",
    pattern: /insufficient funds/,
    clients: "geth, reth, erigon, anvil",
  },
  { kind: "insufficient-funds", pattern: /^insufficientfunds\b/, clients: "nethermind" },
  { kind: "insufficient-funds", pattern: /upfront cost exceeds account balance/, clients: "besu" },
  {
    kind: "rejected",
    pattern: /intrinsic gas (?:too low|exceeds)/,
    clients: "geth, reth, anvil, besu",
  },
  {
    kind: "rejected",
    pattern: /exceeds (?:the )?(?:configured cap|block gas limit)/,
    clients: "geth, reth, besu",
  },
  {
    kind: "rejected",
    pattern: /^gaslimitexceeded\b|gas limit (?:is )?too (?:high|low)/,
    clients: "nethermind, erigon",
  },
  {
    kind: "rejected",
    pattern: /nonce too high|^noncegap\b|nonce too (?:distant|far)/,
    clients: "geth, nethermind, besu",
  },
  {
    kind: "rejected",
    pattern: /invalid (?:sender|chain ?id|signature|transaction signature)/,
    clients: "geth, reth, erigon",
  },
  {
    kind: "rejected",
    pattern: /(?:wrong|incorrect) chain ?id|chain ?id does(?: not|n't) match/,
    clients: "besu, anvil",
  },
  {
    kind: "rejected",
    pattern: /txpool is full|transaction pool is full|account limit exceeded/,
    clients: "geth, reth, besu",
  },
  {
    kind: "rejected",
    pattern: /transaction type not supported|oversized data/,
    clients: "geth, reth",
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
