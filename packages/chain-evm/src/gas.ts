import { assert } from "@quorate/core";
import { type AbortOptions, ChainError, type Clock } from "@quorate/ports";

import type { EndpointPool, Work } from "./endpoint-pool.ts";
import { gather } from "./gather.ts";

// Gas. An estimate holds for one state only: when it was made against keys that a reorg
// then clears, the same bytes need far more. The floor is what a batch costs at worst
// (measured: 25.2 k per fresh key), so that resent bytes never run out of gas.
const GAS_HEADROOM_PERCENT = 120n;
const GAS_HEADROOM_CONSTANT = 20_000n;
const GAS_FLOOR_BASE = 40_000n;
const GAS_FLOOR_PER_ITEM = 27_000n;
// An estimate above this many times the worst case is one endpoint's fancy until no other has a lower one:
// a limit that no block has room for, or that the account can't pay, makes every send fail.
const GAS_BELIEVED_FLOORS_MAX = 2n;

// How long the other endpoints are waited for once one has an estimate that can be true, in ms.
const GAS_GRACE_MS = 200;

type Simulated =
  | { readonly kind: "estimate"; readonly gas: bigint; readonly label: string }
  | { readonly kind: "reverted"; readonly error: ChainError; readonly label: string };

/** What a batch of so many items needs at worst. */
export function gasFloor(itemCount: number): bigint {
  return GAS_FLOOR_BASE + GAS_FLOOR_PER_ITEM * BigInt(itemCount);
}

/** The gas limit for an estimate: with headroom, and never below the worst case. */
export function gasLimitFor(estimate: bigint, itemCount: number): bigint {
  const padded = (estimate * GAS_HEADROOM_PERCENT) / 100n + GAS_HEADROOM_CONSTANT;
  const floor = gasFloor(itemCount);
  return padded > floor ? padded : floor;
}

/**
 * The first healthy endpoint's estimate, if it can be true. One that is far too high, or a refusal, is not believed
 * by itself: the others are asked, and the lowest estimate of all is taken. With one endpoint it is that one's word.
 * @param estimate asks one endpoint.
 * @throws ChainError REVERTED when no endpoint has an estimate and one says that the contract refuses.
 */
export async function estimateAmong(
  pool: EndpointPool,
  estimate: Work<bigint>,
  itemCount: number,
  dependencies: { readonly clock: Clock },
  { signal }: AbortOptions,
): Promise<bigint> {
  const simulate: Work<Simulated> = async (call, label) => {
    try {
      return { kind: "estimate", gas: await estimate(call, label), label };
    } catch (error) {
      if (error instanceof ChainError && error.code === "REVERTED")
        return { kind: "reverted", error, label };
      throw error;
    }
  };
  const believable = (said: Simulated): boolean =>
    said.kind === "estimate" && said.gas <= GAS_BELIEVED_FLOORS_MAX * gasFloor(itemCount);

  const first = await pool.read(simulate, { signal });
  if (first.kind === "estimate" && believable(first)) return first.gas;
  const others = [...pool.labels.keys()].filter((from) => pool.labels[from] !== first.label);
  const replies = await gather(
    others.map((from) => pool.ask(from, simulate, { signal })),
    {
      enough: (there) => there.some((reply) => reply.kind === "answer" && believable(reply.value)),
      graceMs: GAS_GRACE_MS,
    },
    dependencies,
  );
  const said = [
    first,
    ...replies.flatMap((reply) => (reply.kind === "answer" ? [reply.value] : [])),
  ];
  const [lowest] = said
    .flatMap((one) => (one.kind === "estimate" ? [one.gas] : []))
    .toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  if (lowest !== undefined) return lowest;
  const refusal = said.find((one) => one.kind === "reverted");
  assert(refusal !== undefined, "what is no estimate is a refusal");
  throw refusal.error;
}
