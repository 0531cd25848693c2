import type { StepLog } from "@quorate/ports";
import type { SubmitterPorts } from "./faulty-ports.ts";
import { recordedChain } from "./recorded-chain.ts";
import { recordedSubmissions } from "./recorded-submissions.ts";
import { recordedTally } from "./recorded-tally.ts";

/**
 * The submitter's ports with each step of this process on record. To be put around the real ones, inside of everything
 * that loses or spoils: what is recorded is what reached the world.
 */
export function withStepLog(ports: SubmitterPorts, log: StepLog): SubmitterPorts {
  return {
    store: recordedTally(ports.store, log),
    submissions: recordedSubmissions(ports.submissions, log),
    chain: recordedChain(ports.chain, log),
    // A signature that is not stored has no effect, and one that is is recorded with its attempt.
    signer: ports.signer,
  };
}
