import type {
  AbortOptions,
  BlockRef,
  Clock,
  EndpointReport,
  FinalityMode,
  Hex,
} from "@quorate/ports";

import { checkContract, finalBlock, newestBlock, transactionCountAt } from "./chain-reads.ts";
import type { EndpointPool, Work } from "./endpoint-pool.ts";
import { readQuantity } from "./rpc-shapes.ts";

/** What each endpoint says of itself and of an account, in the order of the configuration. Rejects only with the signal's reason. */
export async function reportEndpoints(
  pool: EndpointPool,
  about: { readonly address: Hex; readonly contract: Hex; readonly mode: FinalityMode },
  { clock }: { readonly clock: Clock },
  { signal }: AbortOptions,
): Promise<readonly EndpointReport[]> {
  signal?.throwIfAborted();
  return await Promise.all(
    pool.labels.map(async (endpoint, from): Promise<EndpointReport> => {
      let problem: string | null = null;
      const said = async <T>(work: Work<T>): Promise<T | null> => {
        const reply = await pool.ask(from, work, { signal });
        if (reply.kind === "answer") return reply.value;
        problem ??= reply.error.message;
        return null;
      };
      const startedMs = clock.monotonicMs();
      const head = await said((call): Promise<BlockRef> => newestBlock(call, { signal }));
      const latencyMs = head === null ? null : Math.max(0, clock.monotonicMs() - startedMs);
      const count = (at: "latest" | "pending") => (call: Parameters<Work<bigint>>[0]) =>
        transactionCountAt(call, about.address, at, { signal });
      // One after the other where the first failed: a dead endpoint costs one timeout, not five.
      if (head === null && problem !== null) {
        const nothing = { finalized: null, countLatest: null, countPending: null };
        return { endpoint, problem, latencyMs, head, ...nothing, balanceWei: null };
      }
      const [finalized, countLatest, countPending, balanceWei] = await Promise.all([
        said((call) => finalBlock(call, about.mode, { signal })),
        said(count("latest")),
        said(count("pending")),
        said(async (call) =>
          readQuantity(
            await call("eth_getBalance", [about.address, "latest"], { signal }),
            "balance",
          ),
        ),
        said((call, label) => checkContract(call, label, about.contract, { signal })),
      ]);
      return {
        endpoint,
        // What failed before and answers now is no problem any more; what was outvoted still is.
        problem: problem ?? pool.whyAside(from),
        latencyMs,
        head,
        finalized,
        countLatest,
        countPending,
        balanceWei,
      };
    }),
  );
}
