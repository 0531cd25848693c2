import {
  type AbortOptions,
  ChainError,
  type Clock,
  type Hex,
  type Logger,
  type SendOutcome,
} from "@quorate/ports";
import { keccak256 } from "viem";

import { createRpcEndpoint, type RpcCall, type RpcEndpoint, RpcFailure } from "./json-rpc.ts";
import { classifySendError } from "./rpc-errors.ts";
import { parseHex } from "./hex.ts";
import { readQuantity } from "./rpc-shapes.ts";

const DETAIL_CHARS_MAX = 300;

/** The endpoints of one chain: reads go to the first healthy one, raw transactions to all. */
export interface EndpointPool {
  /** Host and port of each endpoint; safe to log. */
  readonly labels: readonly string[];
  /**
   * Runs a read against one endpoint, whole (so that its answers belong together), and
   * against the next one when that fails. Each call inside is bounded by the timeout.
   * @throws ChainError when every endpoint failed; a ChainError of `work` at once.
   */
  read<T>(work: (call: RpcCall, label: string) => Promise<T>, options?: AbortOptions): Promise<T>;
  /** Sends to all. Resolves at the first good outcome, or with the most telling of all bad ones. */
  sendRaw(raw: Hex, options?: AbortOptions): Promise<SendOutcome>;
  /** Asks every endpoint for its chain id. @throws ChainError WRONG_CHAIN when any is on another chain; RPC_UNREACHABLE when none answers. */
  verifyAll(options?: AbortOptions): Promise<void>;
  /** Waits for sends that are still on their way. */
  drain(): Promise<void>;
}

interface Member extends RpcEndpoint {
  /** Its chain id was seen to be right since it last failed. */
  verified: boolean;
  /** Tried last until then, in monotonic ms. */
  unhealthyUntilMs: number;
}

export function createEndpointPool(
  options: {
    readonly rpcUrls: readonly string[];
    readonly chainId: number;
    readonly timeoutMs: number;
    readonly unhealthyMs: number;
    readonly stopSignal: AbortSignal;
  },
  dependencies: { readonly clock: Clock; readonly logger: Logger },
): EndpointPool {
  const { clock, logger } = dependencies;
  const members = options.rpcUrls.map((url): Member => {
    const endpoint = createRpcEndpoint(
      { url, timeoutMs: options.timeoutMs, stopSignal: options.stopSignal },
      { clock },
    );
    return { ...endpoint, verified: false, unhealthyUntilMs: Number.NEGATIVE_INFINITY };
  });
  const sending = new Set<Promise<unknown>>();

  const setAside = (member: Member, text: string): void => {
    const wasHealthy = member.unhealthyUntilMs <= clock.monotonicMs();
    member.verified = false;
    member.unhealthyUntilMs = clock.monotonicMs() + options.unhealthyMs;
    if (wasHealthy) logger.warn("chain endpoint failed", { endpoint: member.label, reason: text });
  };

  const inOrder = (): readonly Member[] => {
    const now = clock.monotonicMs();
    const healthy = members.filter((member) => member.unhealthyUntilMs <= now);
    // The others still get their turn: a wrong guess about health must not stop a read.
    return [...healthy, ...members.filter((member) => member.unhealthyUntilMs > now)];
  };

  const verify = async (member: Member, { signal }: AbortOptions): Promise<void> => {
    if (member.verified) return;
    const actual = readQuantity(await member.call("eth_chainId", [], { signal }), "chain id");
    if (actual !== BigInt(options.chainId)) {
      throw new ChainError(
        "WRONG_CHAIN",
        `endpoint ${member.label} is on chain ${actual}, but chain ${options.chainId} was expected`,
        { retryable: false },
      );
    }
    member.verified = true;
  };

  const read: EndpointPool["read"] = async (work, { signal } = {}) => {
    signal?.throwIfAborted();
    const failures: Failure[] = [];
    for (const member of inOrder()) {
      try {
        await verify(member, { signal });
        const result = await work(member.call, member.label);
        member.unhealthyUntilMs = Number.NEGATIVE_INFINITY;
        return result;
      } catch (error) {
        if (signal?.aborted === true) throw signal.reason;
        if (error instanceof ChainError && error.code === "WRONG_CHAIN") {
          setAside(member, error.message);
        } else if (error instanceof RpcFailure) {
          // An error answer says nothing about the endpoint's health; silence and nonsense do.
          if (error.kind !== "error") setAside(member, error.text);
        } else {
          throw error;
        }
        failures.push({ label: member.label, error });
      }
    }
    throw summarize(failures);
  };

  const sendTo = async (
    member: Member,
    raw: Hex,
    { signal }: AbortOptions,
  ): Promise<SendOutcome> => {
    const outcome = await sendOnce(member, raw, { signal });
    if (outcome.kind === "unreachable") setAside(member, outcome.detail);
    return outcome;
  };

  const sendRaw: EndpointPool["sendRaw"] = async (raw, { signal } = {}) => {
    signal?.throwIfAborted();
    const sends = members.map((member) => sendTo(member, raw, { signal }));
    for (const send of sends) {
      const tracked = send.catch(() => null).finally(() => sending.delete(tracked));
      sending.add(tracked);
    }
    return await firstGood(sends);
  };

  const verifyAll: EndpointPool["verifyAll"] = async ({ signal } = {}) => {
    const outcomes = await Promise.allSettled(members.map((member) => verify(member, { signal })));
    signal?.throwIfAborted();
    const failures: Failure[] = [];
    for (const [index, outcome] of outcomes.entries()) {
      const member = members[index];
      if (member === undefined || outcome.status === "fulfilled") continue;
      const error: unknown = outcome.reason;
      if (!(error instanceof RpcFailure)) throw error;
      setAside(member, error.text);
      failures.push({ label: member.label, error });
    }
    if (failures.length === members.length) throw summarize(failures);
  };

  return {
    labels: members.map((member) => member.label),
    read,
    sendRaw,
    verifyAll,
    drain: async () => {
      await Promise.all(sending);
    },
  };
}

interface Failure {
  readonly label: string;
  readonly error: ChainError | RpcFailure;
}

function summarize(failures: readonly Failure[]): ChainError {
  const first = failures[0]?.error;
  if (failures.length === 1 && first instanceof ChainError) return first;
  const words = failures.map(({ label, error }) => `${label}: ${error.message}`).join("; ");
  // A wrong chain is a fault of the configuration and outlasts every retry, unless another endpoint may come back.
  if (failures.every(({ error }) => error instanceof ChainError)) {
    return new ChainError("WRONG_CHAIN", words, { retryable: false, cause: first });
  }
  const answered = failures.some(
    ({ error }) => error instanceof RpcFailure && error.kind !== "unreachable",
  );
  return answered
    ? new ChainError("RPC_ERROR", `the chain endpoint failed: ${words}`, {
        retryable: true,
        cause: first,
      })
    : new ChainError("RPC_UNREACHABLE", `no chain endpoint can be reached: ${words}`, {
        retryable: true,
        cause: first,
      });
}

async function sendOnce(
  endpoint: RpcEndpoint,
  raw: Hex,
  { signal }: AbortOptions,
): Promise<SendOutcome> {
  const told = (text: string): string => `${endpoint.label}: ${text}`.slice(0, DETAIL_CHARS_MAX);
  try {
    const answer = await endpoint.call("eth_sendRawTransaction", [raw], { signal });
    return parseHex(answer) === keccak256(raw)
      ? { kind: "accepted", detail: told("accepted") }
      : { kind: "unknown", detail: told("answered without the transaction's hash") };
  } catch (error) {
    if (!(error instanceof RpcFailure)) throw error;
    switch (error.kind) {
      case "unreachable":
        return { kind: "unreachable", detail: told(error.text) };
      case "malformed":
        return { kind: "unknown", detail: told(error.text) };
      case "error":
        return { kind: classifySendError(error.text), detail: told(error.text) };
    }
  }
}

// Most telling first. Silence tells least: what another endpoint said must not be lost behind it.
const MOST_TELLING: readonly SendOutcome["kind"][] = [
  "accepted",
  "already-known",
  "nonce-too-low",
  "underpriced",
  "fee-too-low",
  "insufficient-funds",
  "rejected",
  "unknown",
  "unreachable",
];

/** Of several endpoints' outcomes, the one to go by. */
export function mergeOutcomes(outcomes: readonly SendOutcome[]): SendOutcome {
  const [best] = outcomes.toSorted(
    (a, b) => MOST_TELLING.indexOf(a.kind) - MOST_TELLING.indexOf(b.kind),
  );
  return best ?? { kind: "unreachable", detail: "there is no endpoint" };
}

// One endpoint that holds the bytes is enough to go on; the slow ones finish on their own,
// so that a dead endpoint does not cost every send its whole timeout.
function firstGood(sends: readonly Promise<SendOutcome>[]): Promise<SendOutcome> {
  return new Promise((resolve, reject) => {
    const outcomes: SendOutcome[] = [];
    for (const send of sends) {
      send.then((outcome) => {
        outcomes.push(outcome);
        const good = outcome.kind === "accepted" || outcome.kind === "already-known";
        if (good || outcomes.length === sends.length) resolve(mergeOutcomes(outcomes));
      }, reject);
    }
  });
}
