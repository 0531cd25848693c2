import { LIMITS } from "@quorate/core";
import fc from "fast-check";

const LOWER = "abcdefghijklmnopqrstuvwxyz0123456789".split("");
const ALPHANUMERIC = [...LOWER, ..."ABCDEFGHIJKLMNOPQRSTUVWXYZ".split("")];

/** Any valid transaction id. */
export const txIdTexts: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom(...ALPHANUMERIC),
    fc.array(fc.constantFrom(...ALPHANUMERIC, ".", "_", ":", "-"), {
      maxLength: LIMITS.txIdCharsMax - 1,
    }),
  )
  .map(([first, rest]) => first + rest.join(""));

/** Any DNS label: a node id or a cluster id. */
export const dnsLabels: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom(...LOWER),
    fc.option(
      fc.tuple(
        fc.array(fc.constantFrom(...LOWER, "-"), { maxLength: 61 }),
        fc.constantFrom(...LOWER),
      ),
      { nil: null },
    ),
  )
  .map(([first, rest]) => (rest === null ? first : `${first}${rest[0].join("")}${rest[1]}`));

/** Any value, its ends more often than chance would have it. */
export const u64s: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 4, arbitrary: fc.bigInt({ min: 0n, max: LIMITS.valueMax }) },
  { weight: 1, arbitrary: fc.constantFrom(0n, 1n, 2n ** 53n, 2n ** 63n, LIMITS.valueMax) },
);

/** What one node does in one transaction. */
export interface NodePlan {
  /** Distinct values, in the order of signing: none is silence, two or more are equivocation. */
  readonly values: readonly number[];
}

export interface VotingPlan {
  readonly threshold: number;
  /** One per trustee. */
  readonly nodes: readonly NodePlan[];
}

/** The value that the honest nodes of a plan vote for. */
export const HONEST_VALUE = 1;

/**
 * A cluster of up to `trusteesMax` with t > N/2, where most nodes are honest and
 * the rest dissent, equivocate or keep silent.
 */
export function votingPlans({
  trusteesMax = 9,
}: {
  readonly trusteesMax?: number;
} = {}): fc.Arbitrary<VotingPlan> {
  const node: fc.Arbitrary<NodePlan> = fc.oneof(
    { weight: 8, arbitrary: fc.constant({ values: [HONEST_VALUE] }) },
    { weight: 1, arbitrary: fc.constant({ values: [] }) },
    { weight: 2, arbitrary: fc.record({ values: fc.constantFrom([2], [3]) }) },
    {
      weight: 2,
      arbitrary: fc.record({ values: fc.constantFrom([1, 2], [2, 1], [2, 3], [1, 2, 3]) }),
    },
  );
  return fc.integer({ min: 1, max: trusteesMax }).chain((trustees) =>
    fc.record({
      threshold: fc.integer({ min: Math.floor(trustees / 2) + 1, max: trustees }),
      nodes: fc.array(node, { minLength: trustees, maxLength: trustees }),
    }),
  );
}

/** Items in some order, some repeated, cut into groups: how a network and a queue may hand them over. */
export function deliveries<T>(items: readonly T[]): fc.Arbitrary<readonly (readonly T[])[]> {
  if (items.length === 0) return fc.constant([]);
  const order = fc
    .tuple(
      fc.shuffledSubarray([...items], { minLength: items.length }),
      fc.array(fc.constantFrom(...items), { maxLength: 4 }),
    )
    .chain(([once, again]) =>
      fc.shuffledSubarray([...once, ...again], { minLength: once.length + again.length }),
    );
  return order.chain((all) =>
    fc.array(fc.boolean(), { minLength: all.length, maxLength: all.length }).map((cuts) => {
      const groups: T[][] = [[]];
      for (const [i, item] of all.entries()) {
        if (cuts[i] === true && groups.at(-1)?.length !== 0) groups.push([]);
        groups.at(-1)?.push(item);
      }
      return groups;
    }),
  );
}
