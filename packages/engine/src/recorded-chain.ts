import { bytesToHex, hash } from "@quorate/core";
import type { Chain, StepLog } from "@quorate/ports";
import { overriding } from "./port-overrides.ts";
import { recordedCall } from "./recorded-call.ts";

/** The chain with every send on record, and of what is read there what later moves a submission for good. */
export function recordedChain(chain: Chain, log: StepLog): Chain {
  return overriding(chain, {
    send: (raw, options) =>
      recordedCall(
        log,
        [{ op: "chain.send", bytes: bytesToHex(hash(raw)) }],
        () => chain.send(raw, options),
        ({ kind }) => [{ kind: "sent", answer: kind }],
      ),
    receipt: async (of, options) => {
      const receipt = await chain.receipt(of, options);
      if (receipt !== null)
        log.saw({
          what: "receipt",
          hash: receipt.hash,
          status: receipt.status,
          blockNumber: receipt.blockNumber.toString(),
          blockHash: receipt.blockHash,
          agreed: options?.agreed === true,
        });
      return receipt;
    },
    transactionCount: async (address, at, options) => {
      const count = await chain.transactionCount(address, at, options);
      if (typeof at === "bigint" && options?.agreed === true)
        log.saw({ what: "count", blockNumber: at.toString(), count: count.toString() });
      return count;
    },
    recordsOf: async (txIds, at, options) => {
      const records = await chain.recordsOf(txIds, at, options);
      if (typeof at === "bigint" && options?.agreed === true)
        for (const [i, txId] of txIds.entries())
          log.saw({
            what: "record",
            blockNumber: at.toString(),
            txId,
            value: records[i]?.value.toString() ?? null,
          });
      return records;
    },
  });
}
