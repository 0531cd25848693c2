import { assert } from "@quorate/core";
import type { Clock, Histogram, Logger, StoreError } from "@quorate/ports";
import { noop } from "cockatiel";
import { Etcd3, type IOptions } from "etcd3";
import { isHostFailure, storeErrorOf } from "./store-error.ts";

export type EtcdOperation =
  | "read"
  | "commit"
  | "config"
  | "violation"
  | "bans"
  | "list"
  | "receipts"
  | "presence"
  | "silence"
  | "lease"
  | "election"
  | "revision"
  | "purge"
  | "maintenance"
  | "status";

export const ETCD_OPERATIONS: readonly EtcdOperation[] = [
  "read",
  "commit",
  "config",
  "violation",
  "bans",
  "list",
  "receipts",
  "presence",
  "silence",
  "lease",
  "election",
  "revision",
  "purge",
  "maintenance",
  "status",
];

/** For an etcd that wants certificates or a password. */
export interface EtcdSecurity {
  /** PEM. Hosts are then https URLs. */
  readonly rootCertificate?: Uint8Array;
  /** PEM, of the client. */
  readonly privateKey?: Uint8Array;
  /** PEM, of the client. */
  readonly certificateChain?: Uint8Array;
  readonly user?: { readonly name: string; readonly password: string };
}

export interface HostsOptions {
  readonly hosts: readonly string[];
  readonly requestTimeoutMs: number;
  readonly security?: EtcdSecurity;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
}

type Host = { readonly url: string; readonly client: Etcd3 };
type Attempt<T> = (client: Etcd3, call: { readonly deadline: number }) => Promise<T>;

// Larger than any reply that the largest Txn can bring; grpc-js would stop at 4 MiB.
const REPLY_BYTES_MAX = 64 * 1024 * 1024;

/** Every grpc default that matters here, stated. */
const CHANNEL_OPTIONS = {
  // A dead peer is noticed after 13 s even if nothing is sent. etcd drops clients that ping more often than every 5 s.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 3_000,
  "grpc.keepalive_permit_without_calls": 0,
  // By default a restarted etcd would be tried again only after up to two minutes.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.min_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": REPLY_BYTES_MAX,
  "grpc.max_send_message_length": REPLY_BYTES_MAX,
  "grpc.enable_retries": 0,
};

/**
 * The members of one etcd cluster. All calls go to one of them, until it fails;
 * then the next one takes over. etcd3's own policies (three silent retries, a
 * circuit that stays open for 5 s) are off: a retry is the caller's decision,
 * and a host that is back is usable at once.
 */
export class EtcdHosts {
  readonly #hosts: readonly Host[];
  readonly #options: HostsOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #durations: Histogram<"operation"> | null;
  #current = 0;
  #failover = new AbortController();

  constructor(
    options: HostsOptions,
    dependencies: {
      readonly clock: Clock;
      readonly logger: Logger;
      readonly durations: Histogram<"operation"> | null;
    },
  ) {
    assert(options.hosts.length > 0, "an etcd cluster has at least one host");
    this.#options = options;
    this.#clock = dependencies.clock;
    this.#logger = dependencies.logger;
    this.#durations = dependencies.durations;
    this.#hosts = options.hosts.map((url) => ({
      url,
      client: new Etcd3({
        hosts: url,
        grpcOptions: CHANNEL_OPTIONS,
        faultHandling: { global: noop, host: () => noop },
        ...securityOptions(options.security),
      }),
    }));
  }

  /** One attempt at one host: for whatever may have taken effect when the reply is lost. */
  async once<T>(
    operation: EtcdOperation,
    attempt: Attempt<T>,
    { signal, timeoutMs = this.#options.requestTimeoutMs }: CallOptions = {},
  ): Promise<T> {
    signal?.throwIfAborted();
    const index = this.#current;
    const startedMs = this.#clock.monotonicMs();
    try {
      // grpc takes a Date or ms since the epoch, by the machine's own clock.
      const call = attempt(this.#host(index).client, { deadline: Date.now() + timeoutMs });
      return await untilAborted(call, signal);
    } catch (error) {
      signal?.throwIfAborted();
      const failure = storeErrorOf(error, operation);
      if (isHostFailure(failure)) this.#failed(index, failure);
      throw failure;
    } finally {
      this.#durations?.observe({ operation }, (this.#clock.monotonicMs() - startedMs) / 1_000);
    }
  }

  /** For calls without effect: each other host is asked once when one can't be reached. */
  async idempotent<T>(
    operation: EtcdOperation,
    attempt: Attempt<T>,
    options: CallOptions = {},
  ): Promise<T> {
    for (let retries = Math.max(1, this.#hosts.length - 1); ; retries--) {
      try {
        return await this.once(operation, attempt, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        const failure = storeErrorOf(error, operation);
        if (failure.code !== "UNAVAILABLE" || retries === 0) throw failure;
      }
    }
  }

  /**
   * One attempt at each host, one after the other, for what concerns a member by itself. One that does not answer is
   * passed over; rejects when none of them does.
   */
  async each<T>(
    operation: EtcdOperation,
    attempt: Attempt<T>,
    { signal, timeoutMs = this.#options.requestTimeoutMs }: CallOptions = {},
    among: (url: string) => boolean = () => true,
  ): Promise<readonly { readonly url: string; readonly answer: T }[]> {
    const answers: { readonly url: string; readonly answer: T }[] = [];
    let failure: StoreError | null = null;
    for (const { url, client } of this.#hosts.filter((host) => among(host.url))) {
      signal?.throwIfAborted();
      try {
        const call = attempt(client, { deadline: Date.now() + timeoutMs });
        answers.push({ url, answer: await untilAborted(call, signal) });
      } catch (error) {
        signal?.throwIfAborted();
        failure = storeErrorOf(error, `${operation} at ${url}`);
        this.#logger.warn("etcd member is passed over", { url, error: failure.message });
      }
    }
    if (failure !== null && answers.length === 0) throw failure;
    return answers;
  }

  /** The host in use, for a stream, with a signal that aborts when calls have moved on to another. */
  stream(): { readonly client: Etcd3; readonly moved: AbortSignal; failed(error: unknown): void } {
    const index = this.#current;
    const moved = this.#failover.signal;
    return {
      client: this.#host(index).client,
      moved,
      failed: (error) => this.#failed(index, storeErrorOf(error, "stream")),
    };
  }

  close(): void {
    for (const { client } of this.#hosts) client.close();
  }

  #host(index: number): Host {
    const host = this.#hosts[index];
    assert(host !== undefined, "the index is of a host");
    return host;
  }

  #failed(index: number, failure: StoreError): void {
    // Of many calls that fail together only the first moves on.
    if (index !== this.#current || this.#hosts.length === 1) return;
    const from = this.#host(index).url;
    this.#current = (index + 1) % this.#hosts.length;
    const to = this.#host(this.#current).url;
    this.#logger.warn("etcd host failed, using the next", { from, to, error: failure.message });
    const before = this.#failover;
    this.#failover = new AbortController();
    before.abort();
  }
}

function securityOptions(security: EtcdSecurity = {}): Pick<IOptions, "credentials" | "auth"> {
  const { rootCertificate, privateKey, certificateChain, user } = security;
  return {
    ...(rootCertificate === undefined
      ? {}
      : {
          credentials: {
            rootCertificate: Buffer.from(rootCertificate),
            ...(privateKey === undefined ? {} : { privateKey: Buffer.from(privateKey) }),
            ...(certificateChain === undefined ? {} : { certChain: Buffer.from(certificateChain) }),
          },
        }),
    ...(user === undefined ? {} : { auth: { username: user.name, password: user.password } }),
  };
}

/** The promise's outcome, or the signal's reason if that is first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(abortReasonOf(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
    if (signal.aborted) onAbort();
  });
}

export function abortReasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error(String(reason));
}
