import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { createEvmChain } from "@quorate/chain-evm";
import { LIMITS } from "@quorate/core";
import { createEd25519 } from "@quorate/crypto-sodium";
import { dashboardAssets } from "@quorate/dashboard";
import {
  GarbageCollector,
  recordedMaintenance,
  SubmitterGauges,
  type SubmitterPorts,
  SubmitterService,
  withFaultPoints,
  withStepLog,
} from "@quorate/engine";
import { type AbortOptions, type Lifecycle, noFault, StoreError } from "@quorate/ports";
import {
  createStepFile,
  faultPointFrom,
  pathBeside,
  retentionOf,
  type SubmitterSettings,
  stepProtocolOf,
} from "@quorate/settings";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import {
  createAuditLog,
  createPool,
  createRetentionStore,
  createSubmissionStore,
  lastBackupSeconds,
  migrate,
  postgresMetrics,
  schemaOf,
} from "@quorate/store-postgres";
import {
  addStaticPage,
  createLogger,
  createMetrics,
  createOpsServer,
  createTracing,
  type FlushableLogger,
  readyWhenAllPass,
  systemClock,
  systemRandom,
  tokensOf,
} from "@quorate/telemetry";
import { addSubmitterRoutes } from "./api.ts";
import { submitterApi } from "./api-description.ts";
import { openSigner } from "./signer.ts";

export interface SubmitterApp extends Lifecycle {
  readonly logger: FlushableLogger;
  readonly fatal: Promise<unknown>;
  flush(): Promise<void>;
}

export interface ComposeOptions {
  /** For tests of tests: a submitter whose ports are spoilt on purpose. */
  readonly wrap?: (ports: SubmitterPorts) => SubmitterPorts;
}

/** How often etcd's size and alarms are looked at, in ms. */
const STORAGE_WATCH_INTERVAL_MS = 15_000;
const WEI_PER_MILLIGWEI = 1_000_000n;

/** Puts a submitter together. Nothing is opened before `start`. @throws KeyError */
export async function composeSubmitter(
  settings: SubmitterSettings,
  file: string | null,
  version: string,
  { wrap = (ports) => ports }: ComposeOptions = {},
): Promise<SubmitterApp> {
  const { clusterId, log, api, chain: chainSettings } = settings;
  const clock = systemClock();
  const logger = createLogger({ level: log.level, pretty: log.pretty, base: { clusterId } });
  const metrics = createMetrics({});
  const candidate = `${hostname()}/${process.pid}/${randomUUID()}`;
  const tracing = createTracing({
    serviceName: "quorate-submitter",
    instanceId: candidate,
    clusterId,
    version,
    logger,
    clock,
    ...settings.tracing,
  });
  const { signer, check: checkSigner } = await openSigner(settings, file, { clock, logger });
  const store = createEtcdTallyStore({ ...settings.etcd, clusterId }, { clock, logger, metrics });
  const schema = settings.postgres.schema ?? schemaOf(clusterId);
  const pool = createPool({
    url: settings.postgres.url,
    schema,
    applicationName: "quorate-submitter",
    logger,
  });
  const submissions = createSubmissionStore(pool);
  postgresMetrics(metrics, pool);
  const chain = createEvmChain(
    {
      rpcUrls: chainSettings.rpcUrls,
      chainId: chainSettings.chainId,
      contractAddress: chainSettings.contractAddress,
      clusterId,
      timeoutMs: chainSettings.timeoutMs,
      headPollIntervalMs: chainSettings.pollMs,
    },
    { clock, logger },
  );
  const fault = faultPointFrom(process.env);
  const { directory } = settings.steps;
  const steps =
    directory === undefined
      ? null
      : createStepFile(
          {
            directory: pathBeside(file, directory),
            program: "submitter",
            name: signer.address,
            clusterId,
            protocol: stepProtocolOf(settings.protocol),
          },
          { logger },
        );
  const bare = { store, submissions, chain, signer };
  // Inside of faults: what is recorded is what reached the world.
  const real = steps === null ? bare : withStepLog(bare, steps);
  const ports = wrap(fault === noFault ? real : withFaultPoints(real, fault));
  const fatal = Promise.withResolvers<unknown>();
  const { batchWindowMs, feeCapGwei, ...sender } = settings.sender;
  const audit = createAuditLog(pool);
  const collector = new GarbageCollector(
    {
      retention: retentionOf(settings),
      candidate,
      leaseTtlSeconds: settings.leaseTtlSeconds,
      watchIntervalMs: STORAGE_WATCH_INTERVAL_MS,
    },
    {
      store: steps === null ? store : recordedMaintenance(store, steps),
      election: store,
      retention: createRetentionStore(pool),
      audit,
      clock,
      logger,
      metrics,
      random: systemRandom(),
      fault,
    },
  );
  const service = new SubmitterService(
    {
      candidate,
      leaseTtlSeconds: settings.leaseTtlSeconds,
      claims: { settleMs: settings.protocol.settleMs, ...settings.claims },
      sender: {
        ...sender,
        finality: chainSettings.finality,
        // A cap may have a fraction of a gwei; whole wei are what is compared.
        feeCapWei: BigInt(Math.round(feeCapGwei * 1_000)) * WEI_PER_MILLIGWEI,
      },
      history: { deployedAtBlock: BigInt(chainSettings.deployedAtBlock) },
      batchWindowMs,
    },
    {
      ...ports,
      election: store,
      audit,
      collector,
      ed25519: createEd25519(),
      clock,
      logger,
      metrics,
      fault,
      tracer: tracing.tracer,
      onFatal: (error) => fatal.resolve(error),
    },
  );
  // Beside the service and not through its ports: what is watched must not be spoilt, nor held up, with what works.
  const gauges = new SubmitterGauges(chainSettings.finality, {
    submissions,
    chain,
    signer,
    lastBackupSeconds: (options) => lastBackupSeconds(pool, options),
    clock,
    logger,
    metrics,
  });
  const watching = new AbortController();
  let watched: Promise<void> = Promise.resolve();
  const startedMs = clock.monotonicMs();
  const server = createOpsServer({
    ...api,
    metrics,
    logger,
    bodyLimitBytes: LIMITS.httpBodyBytesMax,
    tokens:
      api.tokensFile === undefined ? null : tokensOf(pathBeside(file, api.tokensFile), logger),
    description: submitterApi(version),
    health: () => ({
      status: "ok",
      uptimeSeconds: (clock.monotonicMs() - startedMs) / 1_000,
      version,
    }),
    ready: () => readyWhenAllPass(service.checks()),
  });
  const routes = {
    clusterId,
    version,
    schema,
    address: signer.address,
    finality: chainSettings.finality,
    submissions: real.submissions,
    chain,
    service,
    history: audit,
    clock,
  };
  server.addRoutes((app) => {
    addSubmitterRoutes(app, routes);
    addStaticPage(app, dashboardAssets());
  });
  return {
    logger,
    fatal: fatal.promise,
    start: async (options?: AbortOptions) => {
      await tracing.start();
      steps?.open();
      await checkSigner(options);
      // First of all: on the wrong chain, or without the contract, no schema is touched.
      await chain.start(options);
      await migrate({ url: settings.postgres.url, schema, logger, ...options }).catch(
        (error: unknown) => {
          throw namingPostgres(error, settings.postgres.url);
        },
      );
      await service.start(options ?? {});
      watched = gauges.run(watching);
      await server.start(options);
      logger.info("api listening", { ...server.address() });
    },
    stop: async (options?: AbortOptions) => {
      watching.abort(new Error("the submitter stops"));
      await service.stop(options ?? {});
      await watched;
      await server.stop(options);
      await pool.end();
      steps?.close();
      await tracing.shutdown();
    },
    flush: () => logger.flush(),
  };
}

/** A failed connection names no server by itself. The URL's password stays out. */
function namingPostgres(error: unknown, url: string): unknown {
  if (!(error instanceof StoreError)) return error;
  const { code, message, retryable } = error;
  const where = `PostgreSQL at ${new URL(url).host}`;
  return new StoreError(code, `${where}: ${message}`, { retryable, cause: error });
}
