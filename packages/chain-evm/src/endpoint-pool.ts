import { assert } from "@quorate/core";
import {
  type AbortOptions,
  ChainError,
  type Clock,
  type Hex,
  type Logger,
  type SendOutcome,
} from "@quorate/ports";
import { keccak256 } from "viem";
import { parseHex } from "./hex.ts";
import { createRpcEndpoint, type RpcCall, type RpcEndpoint, RpcFailure } from "./json-rpc.ts";
import { classifySendError } from "./rpc-errors.ts";
import { readQuantity } from "./rpc-shapes.ts";
import { parseRpcUrl } from "./rpc-url.ts";

const DETAIL_CHARS_MAX = 300;

/** Which endpoint, for those who judge several answers. */
export type EndpointIndex = number;

/** What one endpoint made of a read. */
export type Reply<T> = {
  readonly from: EndpointIndex;
  /** Host and port; safe to show. */
  readonly label: string;
} & (
  | { readonly kind: "answer"; readonly value: T }
  | { readonly kind: "failure"; readonly error: ChainError | RpcFailure }
);

/** What an endpoint is held against, for a person and for a counter. */
export type EndpointTrouble = "failed" | "disagreed";

/** A read against ONE endpoint, whole, so that its answers belong together. */
export type Work<T> = (call: RpcCall, label: string) => Promise<T>;

/** The endpoints of one chain: reads go to the first healthy one, raw transactions to all. */
export interface EndpointPool {
  /** Host and port of each endpoint; safe to log. */
  readonly labels: readonly string[];
  /**
   * Runs a read against one endpoint, and against the next one when that fails. Each call inside
   * is bounded by the timeout.
   * @throws ChainError when every endpoint failed; a ChainError of `work` at once.
   */
  read<T>(work: Work<T>, options?: AbortOptions): Promise<T>;
  /**
   * Runs a read against one endpoint. Rejects only with the signal's reason and for bugs.
   * @param options `clears`: whether an answer ends the time aside of an endpoint that failed. Default true.
   */
  ask<T>(
    from: EndpointIndex,
    work: Work<T>,
    options?: AbortOptions & { readonly clears?: boolean },
  ): Promise<Reply<T>>;
  /** The same against every endpoint at once, in the order of `labels`. */
  askAll<T>(work: Work<T>, options?: AbortOptions): readonly Promise<Reply<T>>[];
  /** Sets an endpoint aside that said something else than two others. */
  outvoted(from: EndpointIndex, what: string): void;
  /** Notes why an endpoint is behind the others: it is read from last until null is noted. Raw transactions still go to it. */
  lagging(from: EndpointIndex, why: string | null): void;
  /** Why an endpoint is tried last for now; null when it is not. */
  whyAside(from: EndpointIndex): string | null;
  /** Sends to all. Resolves at the first good outcome, or with the most telling of all bad ones. */
  sendRaw(raw: Hex, options?: AbortOptions): Promise<SendOutcome>;
  /** Asks every endpoint for its chain id. @throws ChainError WRONG_CHAIN when any is on another chain; RPC_UNREACHABLE when none answers. */
  verifyAll(options?: AbortOptions): Promise<void>;
  /** Waits for sends and reads that are still on their way. */
  drain(): Promise<void>;
}

interface Member extends RpcEndpoint {
  /** Its chain id was seen to be right since it last failed. */
  verified: boolean;
  /** Tried last until then, in monotonic ms. What disagreed is not cleared by an answer that nobody held against another. */
  aside: {
    readonly untilMs: number;
    readonly trouble: EndpointTrouble;
    readonly text: string;
  } | null;
  /** Why it is behind the others, for as long as it is. */
  lag: string | null;
  readonly troubles: Record<EndpointTrouble, number>;
}

export function createEndpointPool(
  options: {
    readonly rpcUrls: readonly string[];
    readonly chainId: number;
    readonly timeoutMs: number;
    readonly unhealthyMs: number;
    readonly stopSignal: AbortSignal;
  },
  dependencies: {
    readonly clock: Clock;
    readonly logger: Logger;
    /** Called each time, with the endpoint's label. */
    readonly onEndpointTrouble?: ((label: string, trouble: EndpointTrouble) => void) | undefined;
  },
): EndpointPool {
  const { clock, logger } = dependencies;
  // The same URL twice is one endpoint: it must not agree with itself.
  const urls = new Map(options.rpcUrls.map((url) => [parseRpcUrl(url).url, url]));
  const hosts = new Map<string, number>();
  const members = [...urls.values()].map((url): Member => {
    const endpoint = createRpcEndpoint(
      { url, timeoutMs: options.timeoutMs, stopSignal: options.stopSignal },
      { clock },
    );
    // Two with one host differ in a part that can't be shown.
    const nth = (hosts.get(endpoint.label) ?? 0) + 1;
    hosts.set(endpoint.label, nth);
    const label = nth === 1 ? endpoint.label : `${endpoint.label} (${nth})`;
    const troubles = { failed: 0, disagreed: 0 };
    return { ...endpoint, label, verified: false, aside: null, lag: null, troubles };
  });
  const underWay = new Set<Promise<unknown>>();
  const track = <T>(work: Promise<T>): Promise<T> => {
    const tracked = work.catch(() => null).finally(() => underWay.delete(tracked));
    underWay.add(tracked);
    return work;
  };
  const isAside = (member: Member): boolean =>
    member.aside !== null && member.aside.untilMs > clock.monotonicMs();

  const setAside = (member: Member, text: string, trouble: EndpointTrouble = "failed"): void => {
    const known = isAside(member) && member.aside?.trouble === trouble;
    if (trouble === "failed") member.verified = false;
    member.troubles[trouble]++;
    member.aside = { untilMs: clock.monotonicMs() + options.unhealthyMs, trouble, text };
    dependencies.onEndpointTrouble?.(member.label, trouble);
    if (!known)
      logger.warn(`chain endpoint ${trouble}`, {
        endpoint: member.label,
        reason: text,
        times: member.troubles[trouble],
      });
  };

  // The others still get their turn: a wrong guess about health must not stop a read.
  const inOrder = (): readonly EndpointIndex[] => {
    const all = [...members.keys()];
    const aside = (index: EndpointIndex): boolean =>
      isAside(memberAt(index)) || memberAt(index).lag !== null;
    return [...all.filter((index) => !aside(index)), ...all.filter(aside)];
  };

  const memberAt = (index: EndpointIndex): Member => {
    const member = members[index];
    assert(member !== undefined, "an endpoint's index comes from this pool");
    return member;
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

  const ask: EndpointPool["ask"] = async (from, work, { signal, clears = true } = {}) => {
    signal?.throwIfAborted();
    const member = memberAt(from);
    const { label } = member;
    try {
      await verify(member, { signal });
      const value = await work(member.call, label);
      if (clears && member.aside?.trouble === "failed") member.aside = null;
      return { from, label, kind: "answer", value };
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason;
      if (error instanceof ChainError) {
        if (error.code === "WRONG_CHAIN") setAside(member, error.message);
      } else if (error instanceof RpcFailure) {
        // An error answer says nothing about the endpoint's health; silence and nonsense do.
        // Nor does what our own stop broke off.
        if (error.kind !== "error" && !options.stopSignal.aborted) setAside(member, error.text);
      } else {
        throw error;
      }
      return { from, label, kind: "failure", error };
    }
  };

  const read: EndpointPool["read"] = async (work, { signal } = {}) => {
    signal?.throwIfAborted();
    const failures: Failure[] = [];
    for (const index of inOrder()) {
      const reply = await ask(index, work, { signal });
      if (reply.kind === "answer") return reply.value;
      if (reply.error instanceof ChainError && reply.error.code !== "WRONG_CHAIN")
        throw reply.error;
      failures.push(reply);
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
    for (const send of sends) void track(send).catch(() => null);
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
    ask: (from, work, options) => track(ask(from, work, options)),
    askAll: (work, options) => members.map((_, index) => track(ask(index, work, options))),
    outvoted: (from, what) => setAside(memberAt(from), what, "disagreed"),
    lagging: (from, why) => {
      const member = memberAt(from);
      if (why !== null && member.lag === null)
        logger.warn("chain endpoint lags", { endpoint: member.label, reason: why });
      member.lag = why;
    },
    whyAside: (from) => {
      const member = memberAt(from);
      return isAside(member) && member.aside !== null
        ? `${member.aside.trouble} (${member.troubles[member.aside.trouble]} times): ${member.aside.text}`
        : member.lag;
    },
    sendRaw,
    verifyAll,
    drain: async () => {
      await Promise.all(underWay);
    },
  };
}

export interface Failure {
  readonly label: string;
  readonly error: ChainError | RpcFailure;
}

/** One error for the failures of all endpoints. */
export function summarize(failures: readonly Failure[]): ChainError {
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
