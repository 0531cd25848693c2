import { assert, type EvmAddress } from "@quorate/core";
import {
  type AbortOptions,
  type ChainSigner,
  type Clock,
  type Hex,
  type Logger,
  SignerError,
  type UnsignedTransaction,
} from "@quorate/ports";
import {
  hexToBytes,
  keccak256,
  parseTransaction,
  recoverTransactionAddress,
  serializeTransaction,
  type TransactionSerializedEIP1559,
} from "viem";

import { DeadlineError } from "./abort.ts";
import { addressHex, parseHex } from "./hex.ts";
import { createRpcEndpoint, isRecord, RpcFailure } from "./json-rpc.ts";
import { KeyError } from "./key-error.ts";
import { isMethodMissing } from "./rpc-errors.ts";
import { quantity } from "./rpc-shapes.ts";

export interface RemoteSignerOptions {
  /**
   * JSON-RPC over http(s): Web3Signer in eth1 mode, or what speaks like it. May hold user and password.
   * A private CA is given by NODE_EXTRA_CA_CERTS. Client certificates need a proxy beside the submitter: fetch has no place for them.
   */
  readonly url: string;
  /** The account to sign for. What comes back is checked against it. */
  readonly address: EvmAddress;
  /** Bound of one call, in ms, body included. */
  readonly timeoutMs: number;
  /** The whole authorization header ("Bearer …"). In no log and no error. */
  readonly authorization?: string | undefined;
}

/** A signer in another process. */
export interface RemoteSigner extends ChainSigner {
  readonly kind: "remote";
  /**
   * Asks whether the signer serves the address, so that a wrong one shows at start.
   * Logs and passes when it can't be reached or does not tell: signing is tried again anyway.
   * @throws SignerError REFUSED when it serves other addresses only, or refuses to talk; MISMATCH for nonsense.
   */
  check(options?: AbortOptions): Promise<void>;
}

// A batch of 200 is 26 kB of hexadecimal; some signers repeat the whole transaction beside it.
const ANSWER_BYTES_MAX = 1_048_576;
// Half of secp256k1's order: a signature above it is no valid one of a transaction (EIP-2).
const S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

/**
 * Signs through `eth_signTransaction` of another process. Trusts it with the key and nothing else:
 * what comes back is decoded, and every field and the recovered sender must be what was asked for.
 * Never retries. Deterministic only if the signer is (RFC 6979).
 * @throws TypeError when the URL is none; KeyError KEY_INVALID when the authorization can't be a header. Neither shows it.
 */
export function createRemoteSigner(
  options: RemoteSignerOptions,
  dependencies: { readonly clock: Clock; readonly logger: Logger },
): RemoteSigner {
  // Else fetch refuses it, and quotes it.
  if (options.authorization !== undefined && !/^[\x20-\x7e]+$/.test(options.authorization)) {
    throw new KeyError(
      "KEY_INVALID",
      "the authorization header must be one line of printable ASCII (it is not shown)",
    );
  }
  const { call, label } = createRpcEndpoint(
    {
      url: options.url,
      timeoutMs: options.timeoutMs,
      authorization: options.authorization,
      responseBytesMax: ANSWER_BYTES_MAX,
    },
    { clock: dependencies.clock },
  );
  const from = addressHex(options.address);

  return {
    address: options.address,
    kind: "remote",
    sign: async (transaction, { signal } = {}) => {
      assert(
        transaction.nonce >= 0n && transaction.nonce <= BigInt(Number.MAX_SAFE_INTEGER),
        "a nonce must fit a safe integer",
      );
      const answer = await call("eth_signTransaction", [requestOf(from, transaction)], {
        signal,
      }).catch((error: unknown) => {
        throw signerErrorOf(error, label);
      });
      // Web3Signer answers the raw transaction, geth and clef an object with it.
      const raw = parseHex(isRecord(answer) ? answer["raw"] : answer);
      if (raw === null || !isEip1559(raw))
        throw mismatch(label, "what came back is no EIP-1559 transaction");
      await verify(raw, transaction, from, label);
      return { hash: keccak256(raw), raw: hexToBytes(raw) };
    },

    check: async ({ signal } = {}) => {
      const { logger } = dependencies;
      let answer: unknown;
      try {
        answer = await call("eth_accounts", [], { signal });
      } catch (error) {
        if (error instanceof RpcFailure && isMethodMissing(error.rpcCode, error.text)) {
          logger.warn("the remote signer does not tell which accounts it serves", {
            signer: label,
          });
          return;
        }
        const failure = signerErrorOf(error, label);
        if (!(failure instanceof SignerError) || !failure.retryable) throw failure;
        logger.warn("the remote signer can't be reached yet", {
          signer: label,
          code: failure.code,
        });
        return;
      }
      if (!Array.isArray(answer)) throw mismatch(label, "its list of accounts is none");
      if (!answer.some((account: unknown) => parseHex(account) === from)) {
        throw new SignerError(
          "REFUSED",
          `signer ${label} does not serve ${from}: it has ${answer.length} other accounts`,
        );
      }
      logger.info("remote signer connected", { signer: label, address: from });
    },
  };
}

function requestOf(from: Hex, transaction: UnsignedTransaction): Readonly<Record<string, string>> {
  return {
    type: "0x2",
    from,
    to: addressHex(transaction.to),
    chainId: quantity(BigInt(transaction.chainId)),
    nonce: quantity(transaction.nonce),
    gas: quantity(transaction.gasLimit),
    maxFeePerGas: quantity(transaction.fees.maxFeePerGasWei),
    maxPriorityFeePerGas: quantity(transaction.fees.maxPriorityFeePerGasWei),
    value: quantity(transaction.valueWei),
    data: transaction.data,
  };
}

function isEip1559(raw: Hex): raw is TransactionSerializedEIP1559 {
  return raw.startsWith("0x02") && raw.length % 2 === 0;
}

/** @throws SignerError MISMATCH, naming the field. */
async function verify(
  raw: TransactionSerializedEIP1559,
  asked: UnsignedTransaction,
  from: Hex,
  label: string,
): Promise<void> {
  const { signed, sender } = await decode(raw, label);
  const fields: readonly (readonly [string, unknown, unknown])[] = [
    ["chain id", signed.chainId, asked.chainId],
    ["nonce", BigInt(signed.nonce ?? 0), asked.nonce],
    ["recipient", parseHex(signed.to), addressHex(asked.to)],
    ["data", parseHex(signed.data ?? "0x"), parseHex(asked.data)],
    ["value", signed.value ?? 0n, asked.valueWei],
    ["gas limit", signed.gas ?? 0n, asked.gasLimit],
    ["max fee", signed.maxFeePerGas ?? 0n, asked.fees.maxFeePerGasWei],
    ["priority fee", signed.maxPriorityFeePerGas ?? 0n, asked.fees.maxPriorityFeePerGasWei],
    ["access list", signed.accessList?.length ?? 0, 0],
    ["sender", sender, from],
  ];
  for (const [name, got, wanted] of fields)
    if (got !== wanted) throw mismatch(label, `it signed another ${name} than it was asked for`);
  const { r, s, yParity } = signed;
  if (r === undefined || s === undefined || yParity === undefined)
    throw mismatch(label, "what came back is not signed");
  if (BigInt(s) > S_MAX) throw mismatch(label, "its signature is not in the lower half");
  // Other bytes than these would have another hash than the network gives the transaction.
  if (serializeTransaction(signed, { r, s, yParity }) !== raw)
    throw mismatch(label, "what came back is not encoded as it must be");
}

async function decode(raw: TransactionSerializedEIP1559, label: string) {
  try {
    const signed = parseTransaction(raw);
    const sender = parseHex(await recoverTransactionAddress({ serializedTransaction: raw }));
    return { signed, sender };
  } catch {
    throw mismatch(label, "what came back can't be decoded");
  }
}

function mismatch(label: string, why: string): SignerError {
  return new SignerError("MISMATCH", `signer ${label} is not to be trusted: ${why}`);
}

const FORBIDDEN = [401, 403];

/** What a failed call means to who wanted a signature. Anything but an RpcFailure (an abort, a bug) stays as it is. */
function signerErrorOf(error: unknown, label: string): unknown {
  if (!(error instanceof RpcFailure)) return error;
  const failed = (code: SignerError["code"]): SignerError =>
    new SignerError(code, `signer ${label}: ${error.text}`, { cause: error });
  if (error.kind === "malformed") return failed("MISMATCH");
  if (error.kind === "error") return failed("REFUSED");
  if (error.cause instanceof DeadlineError) return failed("TIMEOUT");
  if (error.httpStatus !== null && FORBIDDEN.includes(error.httpStatus)) return failed("REFUSED");
  return failed("UNREACHABLE");
}
