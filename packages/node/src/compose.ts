import { dirname } from "node:path";
import { LIMITS } from "@quorate/core";
import { createEd25519, createVoteSigner } from "@quorate/crypto-sodium";
import { dashboardAssets } from "@quorate/dashboard";
import { recordedTally, TrusteeNode } from "@quorate/engine";
import { createGossip } from "@quorate/network-libp2p";
import type { AbortOptions, Lifecycle } from "@quorate/ports";
import {
  createStepFile,
  faultPointFrom,
  type NodeSettings,
  pathBeside,
  stepProtocolOf,
} from "@quorate/settings";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import {
  addEventRoute,
  addStaticPage,
  createEventFeed,
  createLogger,
  createMetrics,
  createOpsServer,
  createTracing,
  DiskWatch,
  type FlushableLogger,
  readyWhenAllPass,
  systemClock,
  tokensOf,
} from "@quorate/telemetry";
import { createAccusationJournal } from "./accusation-journal.ts";
import { nodeApi } from "./api-description.ts";
import { emptyAcceptQueue } from "./empty-accept-queue.ts";
import { feedEvents, helloOf } from "./events.ts";
import { readSecret, readSeed } from "./read-seed.ts";
import { addRoutes } from "./routes.ts";
import { addSubmitterRoutes, type SubmitterLink } from "./submitter-routes.ts";
import { createVoteJournal } from "./vote-journal.ts";

export interface NodeApp extends Lifecycle {
  readonly logger: FlushableLogger;
  /** Resolves with the error when the node can't go on. */
  readonly fatal: Promise<unknown>;
  flush(): Promise<void>;
}

/** Puts a node together. Nothing is opened before `start`. @throws KeyFileError */
export function composeNode(settings: NodeSettings, file: string | null, version: string): NodeApp {
  const { clusterId, nodeId, log, api } = settings;
  const clock = systemClock();
  const base = { clusterId, nodeId };
  const logger = createLogger({ level: log.level, pretty: log.pretty, base });
  const metrics = createMetrics({});
  const tracing = createTracing({
    serviceName: "quorate-node",
    instanceId: nodeId,
    clusterId,
    version,
    logger,
    clock,
    ...settings.tracing,
  });
  const seed = readSeed(pathBeside(file, settings.keyFile));
  const signer = createVoteSigner(seed);
  const ed25519 = createEd25519();
  const etcd = createEtcdTallyStore({ ...settings.etcd, clusterId }, { clock, logger, metrics });
  const { directory } = settings.steps;
  const steps =
    directory === undefined
      ? null
      : createStepFile(
          {
            directory: pathBeside(file, directory),
            program: "node",
            name: nodeId,
            clusterId,
            protocol: stepProtocolOf(settings.protocol),
          },
          { logger },
        );
  const store = steps === null ? etcd : recordedTally(etcd, steps);
  const gossip = createGossip(
    { clusterId, privateKeySeed: seed, ...settings.network },
    { clock, logger, metrics },
  );
  const fatal = Promise.withResolvers<unknown>();
  const startedMs = clock.monotonicMs();
  const node = new TrusteeNode(
    {
      clusterId,
      nodeId,
      protocol: settings.protocol,
      pipeline: settings.pipeline,
      publisher: settings.publisher,
      presenceTtlSeconds: settings.presenceTtlSeconds,
      apiUrl: api.port === 0 ? null : `http://${api.host}:${api.port}`,
      version,
    },
    {
      store,
      gossip,
      signer,
      ed25519,
      journal: createVoteJournal(pathBeside(file, settings.journalFile)),
      accusations: createAccusationJournal(pathBeside(file, settings.accusationsFile), (line) =>
        logger.error("a line of the accusation journal is not readable", { line }),
      ),
      clock,
      logger,
      metrics,
      onFatal: (error) => fatal.resolve(error),
      // Trustees find each other by presence and DHT, but only those with a say are held on to.
      // The ones in force come first; of an old set's there may be more than a node can hold on to.
      onAuthors: (peers) => gossip.setPersistentPeers(peers.slice(0, LIMITS.trusteesMax)),
      fault: faultPointFrom(process.env),
      tracer: tracing.tracer,
    },
  );
  const disks = new DiskWatch(
    {
      directories: new Map([
        ["journal", dirname(pathBeside(file, settings.journalFile))],
        ["accusations", dirname(pathBeside(file, settings.accusationsFile))],
      ]),
    },
    { clock, logger, metrics },
  );
  const watching = new AbortController();
  let watched: Promise<void> = Promise.resolve();
  const server = createOpsServer({
    ...api,
    metrics,
    logger,
    bodyLimitBytes: LIMITS.httpBodyBytesMax,
    tokens:
      api.tokensFile === undefined ? null : tokensOf(pathBeside(file, api.tokensFile), logger),
    description: nodeApi(version),
    health: () => ({
      status: "ok",
      uptimeSeconds: (clock.monotonicMs() - startedMs) / 1_000,
      version,
    }),
    ready: () => readyWhenAllPass(node.checks()),
  });
  const peerId = gossip.localPeerId;
  const routes = { node, store, clusterId, nodeId, peerId, version, signer, ed25519, clock };
  const feed = createEventFeed({ hello: () => helloOf(routes), logger });
  const endFeed = feedEvents(routes, feed);
  server.addRoutes((app) => {
    addRoutes(app, routes);
    addSubmitterRoutes(app, {
      submitter: linkOf(settings, file),
      nowMs: () => clock.monotonicMs(),
    });
    addEventRoute(app, feed);
    addStaticPage(app, dashboardAssets());
  });
  return {
    logger,
    fatal: fatal.promise,
    start: async (options?: AbortOptions) => {
      await tracing.start();
      steps?.open();
      await node.start(options ?? {});
      watched = disks.run(watching);
      await server.start(options);
      logger.info("api listening", { ...server.address() });
    },
    stop: async (options?: AbortOptions) => {
      watching.abort(new Error("the node stops"));
      // Votes first: a request in flight gets its answer while the pipeline still works.
      await node.stop(options ?? {});
      endFeed();
      feed.close();
      await emptyAcceptQueue(server.app.server, { clock });
      await watched;
      await server.stop(options);
      steps?.close();
      await tracing.shutdown();
    },
    flush: () => logger.flush(),
  };
}

function linkOf({ submitter }: NodeSettings, file: string | null): SubmitterLink {
  const { url, tokenFile, explorerUrl } = submitter;
  const bare = (text: string | undefined): string | null => text?.replace(/\/+$/, "") ?? null;
  return {
    url: bare(url),
    token: tokenFile === undefined ? null : readSecret(pathBeside(file, tokenFile), "token file"),
    explorerUrl: bare(explorerUrl),
  };
}
