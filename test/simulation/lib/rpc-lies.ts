import type { BlockRef, ChainReceipt, Hex } from "@quorate/ports";
import type { Lie, SeededRandom } from "@quorate/testkit";
import type { Fault } from "./faults.ts";
import type { World } from "./world.ts";

/** What an endpoint says that is wrong on purpose, or far behind. Each lie is of one kind, drawn with the fault. */
const LIES: readonly ((world: World, random: SeededRandom) => Lie)[] = [
  // Far behind: an older head, and nothing that came after it.
  () => (operation, answer) => {
    if (operation !== "head" && operation !== "finalizedHead") return answer;
    const head = answer as BlockRef | null;
    if (head === null || head.number < 3n) return answer;
    return { ...head, number: head.number - 3n, hash: `0x${"5a".repeat(32)}` };
  },
  // Knows no receipt.
  () => (operation, answer) => (operation === "receipt" ? null : answer),
  // Says of everything that it was mined.
  ({ chain }) =>
    (operation, answer, [hash]) =>
      operation === "receipt" && answer === null
        ? ({
            hash: hash as Hex,
            status: "success",
            blockNumber: chain.tip.number,
            blockHash: chain.tip.hash,
            gasUsed: 50_000n,
            events: [],
          } satisfies ChainReceipt)
        : answer,
  // Counts wrongly.
  (_world, random) => (operation, answer) =>
    operation === "transactionCount" || operation === "nonceFloor"
      ? (answer as bigint) + BigInt(random.below(3))
      : answer,
  (_world, random) => (operation, answer) =>
    operation === "transactionCount"
      ? maxOf((answer as bigint) - BigInt(random.below(3)), 0n)
      : answer,
  // Knows nothing of the contract.
  () => (operation, answer) => {
    if (operation === "recordOf") return null;
    if (operation === "recordsOf") return (answer as readonly unknown[]).map(() => null);
    return operation === "recordedEvents" ? [] : answer;
  },
  // Wants absurd fees.
  () => (operation, answer) =>
    operation === "suggestFees"
      ? { maxFeePerGasWei: 10n ** 15n, maxPriorityFeePerGasWei: 10n ** 14n }
      : answer,
];

export function lieOf(fault: Fault, world: World, random: SeededRandom): Lie {
  const lie = LIES[fault.salt % LIES.length];
  if (lie === undefined) throw new Error("there is no such lie");
  const tell = lie(world, random);
  return (operation, answer, args) => {
    const told = tell(operation, answer, args);
    if (told !== answer) world.weather.strike("rpc-lies");
    return told;
  };
}

function maxOf(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
