import {
  assert,
  bytesToHex,
  type EvmAddress,
  hash,
  parseEvmAddress,
  parseTxId,
  parseValue,
  unwrap,
  utf8,
} from "@quorate/core";
import type {
  ChainSigner,
  Fees,
  Hex,
  RecordItem,
  SignedTransaction,
  SignerError,
} from "@quorate/ports";

// The raw transactions of a `MemoryChain`: JSON without a signature.

/** A transaction as a `MemoryChain`'s pool holds it. */
export interface MemoryTransaction {
  readonly hash: Hex;
  readonly from: EvmAddress;
  readonly nonce: bigint;
  readonly gasLimit: bigint;
  readonly valueWei: bigint;
  readonly fees: Fees;
  /** Null for what records nothing and only takes the nonce: a plain transfer, or somebody else's transaction. */
  readonly items: readonly RecordItem[] | null;
}

export interface MemorySignerOptions {
  /** Default "local". */
  readonly kind?: ChainSigner["kind"];
  /** Asked at each call; null for no fault. */
  readonly fault?: () => SignerError | null;
}

export function hex(bytes: Uint8Array): Hex {
  return `0x${bytesToHex(bytes)}`;
}

/** Makes raw transactions for a `MemoryChain`, the same for the same input. */
export function memoryChainSigner(
  address: EvmAddress,
  { kind = "local", fault }: MemorySignerOptions = {},
): ChainSigner {
  return {
    address,
    kind,
    sign: async (transaction, { signal } = {}): Promise<SignedTransaction> => {
      signal?.throwIfAborted();
      const error = fault?.() ?? null;
      if (error !== null) throw error;
      const text = JSON.stringify({ ...transaction, from: address }, (_key, v: unknown) =>
        typeof v === "bigint" ? v.toString() : v,
      );
      const raw = utf8(text);
      return { raw, hash: hex(hash(raw)) };
    },
  };
}

/** Reads what a `memoryChainSigner` made. @param contract only what goes there records */
export function decodeMemoryTransaction(raw: Uint8Array, contract: EvmAddress): MemoryTransaction {
  const body: unknown = JSON.parse(new TextDecoder().decode(raw));
  const field = (of: unknown, name: string): unknown =>
    typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined;
  const wei = (of: unknown, name: string): bigint => BigInt(String(field(of, name)));
  const fees = field(body, "fees");
  const data = String(field(body, "data"));
  return {
    hash: hex(hash(raw)),
    from: unwrap(parseEvmAddress(field(body, "from"))),
    nonce: wei(body, "nonce"),
    gasLimit: wei(body, "gasLimit"),
    valueWei: wei(body, "valueWei"),
    fees: {
      maxFeePerGasWei: wei(fees, "maxFeePerGasWei"),
      maxPriorityFeePerGasWei: wei(fees, "maxPriorityFeePerGasWei"),
    },
    items: field(body, "to") === contract ? decodeBatch(data) : null,
  };
}

function decodeBatch(data: string): readonly RecordItem[] {
  const list: unknown = JSON.parse(Buffer.from(data.slice(2), "hex").toString("utf8"));
  assert(Array.isArray(list), "the data is an encoded batch");
  return list.map((item: unknown): RecordItem => {
    assert(Array.isArray(item), "an item is a pair");
    const pair: readonly unknown[] = item;
    return { txId: unwrap(parseTxId(pair[0])), value: unwrap(parseValue(pair[1])) };
  });
}
