import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deployRecorder } from "@quorate/chain-evm";
import { DEFAULT_PROTOCOL_CONFIG, parseClusterId, parseEvmAddress, unwrap } from "@quorate/core";
import { recordedTally } from "@quorate/engine";
import { type LocalServers, startLocalServers } from "@quorate/localcluster";
import { createStepFile, stepProtocolOf } from "@quorate/settings";
import { createEtcdTallyStore, type EtcdTallyStore } from "@quorate/store-etcd";
import { createLogger, systemClock } from "@quorate/telemetry";
import { prng } from "@quorate/testkit";
import { Pool } from "pg";
import { privateKeyToAccount } from "viem/accounts";
import { Trustees } from "./decisions.ts";
import { type Hex, jsonRpc } from "./json-rpc.ts";
import { startSigningService } from "./remote-signer.ts";
import { RpcProxy } from "./rpc-proxy.ts";
import { SendWitness } from "./send-witness.ts";
import { CONFIRMATIONS } from "./weather.ts";

/** Short, and yet longer than a busy machine keeps a process waiting. */
export const LEASE_TTL_SECONDS = 3;
const FUNDS = "0x3635c9adc5dea00000";
/** Deeper than any reorg, which would otherwise take the contract with it. */
const BLOCKS_AFTER_DEPLOYMENT = "0x10";
const PROXIES = 2;

/** The servers and the bad endpoints of one run. */
export interface ChaosServers {
  readonly servers: LocalServers;
  readonly proxies: readonly RpcProxy[];
  readonly pool: Pool;
  readonly witness: SendWitness;
  stop(): Promise<void>;
}

export async function startChaosServers(directory: string, seed: number): Promise<ChaosServers> {
  const servers = await startLocalServers({ directory, etcdMembers: 1, blockTimeSeconds: 1 });
  const pool = new Pool({ connectionString: servers.postgres.url, max: 6 });
  // A connection that breaks while idle is replaced; at the end the server goes first.
  pool.on("error", () => {});
  const witness = new SendWitness(pool);
  const proxies: RpcProxy[] = [];
  for (let index = 0; index < PROXIES; index++)
    proxies.push(
      await RpcProxy.start(servers.anvil.rpcUrl, prng(seed * 1_000 + index), (raw) =>
        witness.see(raw),
      ),
    );
  return {
    servers,
    proxies,
    pool,
    witness,
    stop: async () => {
      for (const proxy of proxies) await proxy.stop();
      await pool.end();
      await servers.stop();
    },
  };
}

/** One seed's own cluster on the shared servers: trustees, schema, contract, account. */
export interface SeedWorld {
  readonly clusterId: string;
  readonly schema: string;
  readonly contractAddress: string;
  readonly deployedAt: bigint;
  readonly senderKey: Hex;
  readonly senderAddress: string;
  readonly configFile: string;
  readonly directory: string;
  readonly trustees: Trustees;
  /** How often PostgreSQL gave the lead away. */
  leaderEpoch(): Promise<bigint>;
  close(): Promise<void>;
}

export async function makeSeedWorld(
  chaos: ChaosServers,
  request: {
    readonly clusterId: string;
    readonly seed: number;
    readonly directory: string;
    readonly settings: Readonly<Record<string, unknown>>;
    /** Whether the key is held by a signing service, and not by a file. */
    readonly remoteSigner: boolean;
    /** Absolute folder where submitters and trustees record their steps. */
    readonly stepsDirectory?: string | undefined;
  },
): Promise<SeedWorld> {
  const { servers, proxies, pool, witness } = chaos;
  const { clusterId, seed, directory } = request;
  const senderKey: Hex = `0x${randomBytes(32).toString("hex")}`;
  const senderAddress = privateKeyToAccount(senderKey).address;
  const schema = `chaos_${clusterId.replaceAll("-", "_")}`;
  const recorder = await deploy(servers, senderAddress);
  const store = await connectStore(servers, clusterId);
  const { stepsDirectory } = request;
  const steps =
    stepsDirectory === undefined
      ? null
      : createStepFile(
          {
            directory: stepsDirectory,
            program: "trustees",
            name: clusterId,
            clusterId,
            protocol: stepProtocolOf(DEFAULT_PROTOCOL_CONFIG),
          },
          { logger: quiet() },
        );
  steps?.open();
  const recorded = steps === null ? store : recordedTally(store, steps);
  const trustees = new Trustees(clusterId, seed, recorded);
  await trustees.begin();
  await mkdir(directory, { recursive: true });
  const configFile = join(directory, "submitter.json");
  const service = request.remoteSigner
    ? await startSigningService(senderKey, prng(seed + 15_485_863))
    : null;
  await writeFile(join(directory, "submitter.key"), `${senderKey}\n`, { mode: 0o600 });
  await writeFile(
    configFile,
    JSON.stringify({
      clusterId,
      ...(service === null
        ? { keyFile: "submitter.key" }
        : {
            signer: {
              kind: "remote",
              url: service.url,
              address: senderAddress.toLowerCase(),
              timeoutMs: 1_000,
            },
          }),
      etcd: { hosts: servers.etcd.endpoints, requestTimeoutMs: 2_000 },
      postgres: { url: servers.postgres.url, schema },
      chain: {
        rpcUrls: proxies.map((proxy) => proxy.url),
        chainId: servers.anvil.chainId,
        contractAddress: recorder.address,
        finality: { kind: "confirmations", blocks: CONFIRMATIONS },
        pollMs: 200,
        timeoutMs: 1_500,
        deployedAtBlock: Number(recorder.blockNumber),
      },
      leaseTtlSeconds: LEASE_TTL_SECONDS,
      shutdownMs: 5_000,
      steps: stepsDirectory === undefined ? {} : { directory: stepsDirectory },
      ...request.settings,
    }),
  );
  witness.watch(senderAddress, schema);
  return {
    clusterId,
    schema,
    contractAddress: recorder.address,
    deployedAt: recorder.blockNumber,
    senderKey,
    senderAddress,
    configFile,
    directory,
    trustees,
    leaderEpoch: async () => {
      const { rows } = await pool
        .query<{ epoch: string }>(`SELECT epoch::text AS epoch FROM "${schema}".sender`)
        .catch(() => ({ rows: [] }));
      return BigInt(rows[0]?.epoch ?? 0);
    },
    close: async () => {
      await service?.stop();
      await store.stop();
      steps?.close();
    },
  };
}

async function deploy({ anvil }: LocalServers, senderAddress: string) {
  const deployerKey = anvil.accounts[0]?.privateKey;
  if (deployerKey === undefined) throw new Error("Anvil has no account to deploy with");
  const recorder = await deployRecorder(
    {
      rpcUrl: anvil.rpcUrl,
      chainId: anvil.chainId,
      deployerKey,
      submitter: unwrap(parseEvmAddress(senderAddress)),
    },
    { clock: systemClock(), logger: quiet() },
  );
  await jsonRpc(anvil.rpcUrl, "anvil_setBalance", [senderAddress, FUNDS]);
  await jsonRpc(anvil.rpcUrl, "anvil_mine", [BLOCKS_AFTER_DEPLOYMENT]);
  return recorder;
}

async function connectStore(servers: LocalServers, clusterId: string): Promise<EtcdTallyStore> {
  const store = createEtcdTallyStore(
    {
      hosts: servers.etcd.endpoints,
      clusterId: unwrap(parseClusterId(clusterId)),
      requestTimeoutMs: 10_000,
      dialTimeoutMs: 10_000,
    },
    { clock: systemClock(), logger: quiet() },
  );
  await store.start();
  return store;
}

const quiet = () => createLogger({ level: "error", pretty: false, destination: "stderr" });
