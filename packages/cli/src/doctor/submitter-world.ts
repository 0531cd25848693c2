import { createEvmChain, openSigner } from "@quorate/chain-evm";
import type { AuditLog, Clock, TallyStore } from "@quorate/ports";
import { type SubmitterSettings, signerSourceOf } from "@quorate/settings";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import {
  createAuditLog,
  createPool,
  createSubmissionStore,
  schemaOf,
  schemaState,
} from "@quorate/store-postgres";
import type { DoctorWorld } from "../commands/submitter-doctor-look.ts";
import type { DoctorTally } from "./node-look.ts";
import { SILENT, startedOnUse } from "./tally.ts";

/** What the submitter's own checks look at, and what is common to all processes. */
export interface SubmitterWorld extends DoctorWorld {
  readonly tally: DoctorTally & Pick<TallyStore, "watch" | "lineage">;
  readonly audit: AuditLog;
}

/** The real parts, for the time of one task. Nothing is started that writes. */
export async function withSubmitterWorld<T>(
  settings: SubmitterSettings,
  file: string | null,
  clock: Clock,
  task: (world: SubmitterWorld) => Promise<T>,
): Promise<T> {
  const { clusterId, chain: chainSettings } = settings;
  const dependencies = { clock, logger: SILENT };
  const chainOf = (rpcUrls: readonly string[]) =>
    createEvmChain(
      {
        rpcUrls,
        chainId: chainSettings.chainId,
        contractAddress: chainSettings.contractAddress,
        clusterId,
        timeoutMs: Math.min(chainSettings.timeoutMs, RPC_TIMEOUT_MS),
      },
      dependencies,
    );
  const etcd = createEtcdTallyStore({ ...settings.etcd, clusterId }, dependencies);
  const tally = startedOnUse(etcd);
  const schemaName = settings.postgres.schema ?? schemaOf(clusterId);
  const pool = createPool({
    url: settings.postgres.url,
    schema: schemaName,
    applicationName: "quorate-doctor",
    connectionsMax: 4,
    logger: SILENT,
  });
  const chain = chainOf(chainSettings.rpcUrls);
  const endpoints = chainSettings.rpcUrls.map((url) => chainOf([url]));
  try {
    return await task({
      clusterId,
      schemaName,
      finality: chainSettings.finality,
      batchMax: settings.sender.batchMax,
      address: async () => {
        const { signer, check } = await openSigner(signerSourceOf(settings, file), dependencies);
        await check();
        return signer.address;
      },
      etcd: {
        readConfig: (options) => tally.readConfig(options),
        leader: (name, options) => etcd.leader(name, options),
      },
      tally,
      audit: createAuditLog(pool),
      schema: () => schemaState(pool),
      submissions: createSubmissionStore(pool),
      chain,
      endpoints,
      clock,
    });
  } finally {
    await Promise.allSettled([
      etcd.stop(),
      pool.end(),
      ...[chain, ...endpoints].map((c) => c.stop()),
    ]);
  }
}

/** A person waits: an endpoint that takes longer is as good as away. */
const RPC_TIMEOUT_MS = 5_000;
