import { Readable } from "node:stream";
import { assert } from "@quorate/core";
import { type AbortOptions, type Clock, type Logger, StoreError } from "@quorate/ports";
import { EtcdHosts, type EtcdSecurity } from "./etcd-hosts.ts";
import { keyBytes } from "./ops.ts";
import { storeErrorOf } from "./store-error.ts";

export interface EtcdSnapshotParameters extends AbortOptions {
  /** The member to take it from: one that answers is enough, for a snapshot is not taken before it has caught up. */
  readonly host: string;
  /** How long the member may say nothing, in ms. */
  readonly timeoutMs: number;
  readonly security?: EtcdSecurity;
}

export interface EtcdSnapshot {
  /** The etcd cluster's own id. */
  readonly lineage: string;
  /** The snapshot holds this revision at least, and what was written while it began. */
  readonly revisionAtLeast: bigint;
  /** The database file and a SHA-256 of it, as `etcdctl snapshot save` writes them. */
  readonly content: AsyncIterable<Uint8Array>;
}

/**
 * A snapshot of all that one member holds, of every cluster in it. With etcd's own authentication on, only its root
 * may; such an etcd is backed up with `etcdctl snapshot save`.
 * @throws StoreError UNAVAILABLE, TIMEOUT, REFUSED; also while the content is read.
 */
export async function withEtcdSnapshot<T>(
  parameters: EtcdSnapshotParameters,
  dependencies: { readonly clock: Clock; readonly logger: Logger },
  task: (snapshot: EtcdSnapshot) => Promise<T>,
): Promise<T> {
  const { host, timeoutMs, security, signal } = parameters;
  const hosts = new EtcdHosts(
    {
      hosts: [host],
      requestTimeoutMs: timeoutMs,
      ...(security === undefined ? {} : { security }),
    },
    { ...dependencies, durations: null },
  );
  try {
    // Linearizable, and by this member: what it then has in its file is at least this.
    const { header } = await hosts.once(
      "revision",
      (client, call) => client.kv.range({ key: keyBytes("quorate"), count_only: true }, call),
      { signal },
    );
    return await task({
      lineage: header.cluster_id,
      revisionAtLeast: BigInt(header.revision),
      content: chunks(hosts, { ...parameters, ...dependencies }),
    });
  } finally {
    hosts.close();
  }
}

async function* chunks(
  hosts: EtcdHosts,
  { clock, timeoutMs, signal }: EtcdSnapshotParameters & { readonly clock: Clock },
): AsyncGenerator<Uint8Array, void, void> {
  signal?.throwIfAborted();
  const stream: unknown = await hosts.stream().client.maintenance.snapshot();
  assert(stream instanceof Readable, "a grpc server stream is a Node stream");
  const silent = new StoreError("TIMEOUT", `etcd sent nothing for ${timeoutMs} ms`, {
    retryable: true,
  });
  const onAbort = (): void => void stream.destroy(new Error("aborted"));
  signal?.addEventListener("abort", onAbort, { once: true });
  let cancelTimer = clock.schedule(timeoutMs, () => stream.destroy(silent));
  try {
    for await (const item of stream) {
      cancelTimer();
      const response: { readonly blob: Uint8Array } = item;
      yield response.blob;
      cancelTimer = clock.schedule(timeoutMs, () => stream.destroy(silent));
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw storeErrorOf(error, "snapshot");
  } finally {
    cancelTimer();
    signal?.removeEventListener("abort", onAbort);
    if ("cancel" in stream && typeof stream.cancel === "function") stream.cancel();
    stream.destroy();
  }
}
