import { Duplex } from "node:stream";
import { assert } from "@quorate/core";
import { type Clock, type Logger, StoreError } from "@quorate/ports";
import type { Etcd3, IEvent, IWatchCreateRequest, IWatchResponse } from "etcd3";
import type { EtcdHosts } from "./etcd-hosts.ts";
import { keyBytes, rangeEnd } from "./ops.ts";
import { storeErrorOf } from "./store-error.ts";

/** All events of one revision; none when the server only says how far it has come. */
export interface Revision {
  readonly revision: bigint;
  readonly events: readonly IEvent[];
}

export interface WatchRequest {
  /** A key, or with a "/" at the end a whole range. */
  readonly target: string;
  readonly after: bigint;
  readonly signal: AbortSignal;
}

/** Which etcd a process began with: a restored snapshot is another one, with other changes under the same revisions. */
export interface LineagePin {
  id: string | null;
}

export interface WatchDependencies {
  readonly hosts: EtcdHosts;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly requestTimeoutMs: number;
  readonly lineage?: LineagePin;
}

const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 2_000;

/**
 * Calls back with every revision after `after` in order, each once and whole, over
 * reconnects and changes of host, until aborted or until the callback says "stop".
 *
 * etcd3's own Watcher is not used: at every (re)connection it takes the server's
 * current revision for the one it has delivered, so that a connection lost while
 * it catches up loses what it had not caught up with.
 * @throws StoreError CORRUPT when revisions after `after` are compacted away, or when a snapshot was restored.
 */
export async function watchRevisions(
  request: WatchRequest,
  { hosts, clock, logger, requestTimeoutMs, lineage = { id: null } }: WatchDependencies,
  onRevision: (revision: Revision) => Promise<"go on" | "stop">,
): Promise<void> {
  const { target, signal } = request;
  const progress = { last: request.after, backoffMs: BACKOFF_MS_MIN };
  while (!signal.aborted) {
    const host = hosts.stream();
    const ended = AbortSignal.any([signal, host.moved]);
    const revisions = streamRevisions(host.client, {
      target,
      after: progress.last,
      clock,
      requestTimeoutMs,
      lineage,
      signal: ended,
    });
    const end = await follow(revisions, progress, onRevision);
    if (end === "stopped" || signal.aborted) return;
    if (end instanceof StoreError && end.code === "CORRUPT") throw end;
    if (!host.moved.aborted) host.failed(end);
    logger.warn("etcd watch was interrupted and resumes", {
      target,
      after: progress.last,
      error: end.message,
    });
    // An abort ends the sleep early, and then the loop.
    await clock.sleep(progress.backoffMs, { signal }).catch(() => {});
    progress.backoffMs = Math.min(progress.backoffMs * 2, BACKOFF_MS_MAX);
  }
}

/** @returns why it ended: the stream's error, or that the callback had enough. What the callback throws goes through. */
async function follow(
  revisions: AsyncGenerator<Revision, void, void>,
  progress: { last: bigint; backoffMs: number },
  onRevision: (revision: Revision) => Promise<"go on" | "stop">,
): Promise<Error | "stopped"> {
  try {
    for (;;) {
      let item: IteratorResult<Revision, void>;
      try {
        item = await revisions.next();
      } catch (error) {
        return storeErrorOf(error, "watch");
      }
      if (item.done === true) return new Error("etcd ended the watch stream");
      progress.backoffMs = BACKOFF_MS_MIN;
      const { revision, events } = item.value;
      if (revision <= progress.last) continue;
      if (events.length > 0 && (await onRevision(item.value)) === "stop") return "stopped";
      progress.last = revision;
    }
  } finally {
    await revisions.return();
  }
}

interface StreamParameters extends WatchRequest {
  readonly clock: Clock;
  readonly requestTimeoutMs: number;
  readonly lineage: LineagePin;
}

/** One connection's worth of revisions. The stream is read only as fast as they are taken. */
async function* streamRevisions(
  client: Etcd3,
  { target, after, signal, clock, requestTimeoutMs, lineage }: StreamParameters,
): AsyncGenerator<Revision, void, void> {
  const stream = await client.watchClient.watch();
  assert(stream instanceof Duplex, "a grpc duplex stream is a Node stream");
  const close = (): void => {
    // Ended first: etcd3 takes the error of a writable stream for a failure of its host.
    stream.end();
    stream.cancel();
  };
  // A paused host accepts the stream and then says nothing.
  const stopTimer = clock.schedule(requestTimeoutMs, close);
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  try {
    stream.write({ create_request: createRequest(target, after) });
    let open: { revision: string; events: IEvent[] } | null = null;
    for await (const item of stream) {
      const response: IWatchResponse = item;
      stopTimer();
      if (response.canceled) throw cancellation(response, after);
      if (response.created) {
        await checkLineage(client, response, { target, after, lineage, requestTimeoutMs });
        continue;
      }
      for (const event of response.events) {
        const revision = event.kv.mod_revision;
        if (open !== null && open.revision !== revision) {
          yield { revision: BigInt(open.revision), events: open.events };
          open = null;
        }
        open ??= { revision, events: [] };
        open.events.push(event);
      }
      // A large revision comes in fragments; only the last one completes it.
      if (response.fragment) continue;
      if (open !== null) yield { revision: BigInt(open.revision), events: open.events };
      // Nothing happened up to here: so much less can be compacted away before a reconnect.
      else yield { revision: BigInt(response.header.revision), events: [] };
      open = null;
    }
  } finally {
    stopTimer();
    signal.removeEventListener("abort", close);
    close();
  }
}

/** etcd accepts a watch from a revision that it has not reached, and then says nothing until it has. */
async function checkLineage(
  client: Etcd3,
  { header }: IWatchResponse,
  parameters: Pick<StreamParameters, "target" | "after" | "lineage" | "requestTimeoutMs">,
): Promise<void> {
  const { target, after, lineage, requestTimeoutMs } = parameters;
  lineage.id ??= header.cluster_id;
  if (lineage.id !== header.cluster_id)
    throw restored(`etcd is another cluster now (${header.cluster_id}, it was ${lineage.id})`);
  if (BigInt(header.revision) >= after) return;
  // A member may be behind the others; a linearizable read is not.
  const key = keyBytes(target);
  const deadline = Date.now() + requestTimeoutMs;
  const current = await client.kv.range({ key, count_only: true }, { deadline });
  const revision = BigInt(current.header.revision);
  if (revision < after) throw restored(`etcd's history ends at ${revision}, before ${after}`);
}

function restored(what: string): StoreError {
  return new StoreError("CORRUPT", `${what}: a snapshot was restored`, { retryable: false });
}

function createRequest(target: string, after: bigint): IWatchCreateRequest {
  const common = {
    key: keyBytes(target),
    start_revision: (after + 1n).toString(),
    progress_notify: true,
    fragment: true,
  };
  return target.endsWith("/") ? { ...common, range_end: rangeEnd(target) } : common;
}

function cancellation(response: IWatchResponse, after: bigint): StoreError {
  const compacted = BigInt(response.compact_revision);
  if (compacted > 0n)
    return new StoreError(
      "CORRUPT",
      `etcd has compacted away revisions after ${after}: its history begins at ${compacted}`,
      { retryable: false },
    );
  return new StoreError("UNAVAILABLE", `etcd ended the watch: ${response.cancel_reason}`, {
    retryable: true,
  });
}
