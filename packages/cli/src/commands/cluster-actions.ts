import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deployRecorder, loadKeyFile } from "@quorate/chain-evm";
import {
  type EvmAddress,
  type ParseError,
  type ProtocolConfig,
  parseClusterId,
  parseEvmAddress,
  type Result,
  thresholdProblems,
} from "@quorate/core";
import {
  containerAddresses,
  initCluster,
  loopbackAddresses,
  planCluster,
  portsFrom,
  readClusterFile,
  writeCluster,
} from "@quorate/localcluster";
import { createLogger, systemClock } from "@quorate/telemetry";
import { COMMAND } from "../command-name.ts";
import { CliError, EXIT, usageError, usageErrors } from "../failure.ts";
import { SERVER_DEFAULTS } from "../options.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import {
  COMPOSE_ADDRESSES,
  COMPOSE_TRUSTEES,
  holdsCluster,
  writeComposeFiles,
} from "./compose-files.ts";

export interface CreateOptions {
  readonly trustees: number;
  readonly threshold: number;
  readonly out: string;
  readonly name: string;
  readonly etcd: readonly string[];
  readonly postgres: string;
  readonly rpc: readonly string[];
  readonly chainId: number;
  readonly contract?: string;
  readonly confirmations: number;
  readonly policy: ProtocolConfig["policy"];
  readonly profile: ProtocolConfig["profile"];
  readonly settleMs: number;
  readonly deadlineMs: number;
  readonly silenceStreak: number;
  readonly basePort: number;
  readonly containers?: true;
  readonly compose?: true;
  readonly json?: true;
}

export interface InitOptions {
  readonly etcd: readonly string[];
  readonly json?: true;
}

export interface DeployOptions {
  readonly rpc: string;
  readonly keyFile: string;
  readonly submitter: string;
  readonly chainId?: number;
  readonly update?: string;
  readonly json?: true;
}

export async function createClusterAction(
  given: CreateOptions,
  terminal: Terminal,
): Promise<number> {
  const options = given.compose === true ? forCompose(given) : given;
  if (options.compose === true && (await holdsCluster(options.out)))
    return await completeCompose(options, terminal);
  const { clusterId, contractAddress } = checkCreate(options);
  const { policy, profile, settleMs, deadlineMs } = options;
  const planned = planCluster(
    {
      clusterId,
      trustees: options.trustees,
      threshold: options.threshold,
      protocol: { policy, profile, settleMs, deadlineMs, silenceStreakMax: options.silenceStreak },
      etcdHosts: options.etcd,
      postgresUrl: options.postgres,
      chain: {
        rpcUrls: options.rpc,
        chainId: options.chainId,
        contractAddress,
        finality: { kind: "confirmations", blocks: options.confirmations },
        pollMs: 250,
      },
      logLevel: "info",
    },
    (nodeIds) =>
      options.containers === true
        ? containerAddresses(nodeIds)
        : loopbackAddresses(portsFrom(options.basePort, nodeIds.length)),
  );
  if (!planned.ok) throw usageErrors(planned.error);
  const { files, faultBounds, submitterAddress, set } = planned.value;
  await writeCluster(planned.value, options.out);
  const composeFiles = options.compose === true ? await writeComposeFiles(options.out) : [];
  const { specified, safety, liveness, warnings } = faultBounds;
  for (const warning of warnings) terminal.note(terminal.style.warn(`warning: ${warning}`));
  if (options.json === true) {
    terminal.data(
      jsonDocument({
        clusterId,
        directory: options.out,
        threshold: options.threshold,
        trustees: set.trustees.map(({ nodeId, peerId, evmAddress }) => ({
          nodeId,
          peerId,
          evmAddress,
        })),
        faultBounds,
        submitterAddress,
        files: [...files.map((file) => file.path), ...composeFiles],
      }),
    );
    return EXIT.ok;
  }
  terminal.data(
    [
      `${options.out}: cluster ${clusterId}, ${options.threshold} of ${options.trustees} trustees`,
      `tolerates f = ${specified} as specified; safety ${safety} (liars), liveness ${liveness} (absent)`,
      `submitter account: ${submitterAddress}`,
    ].join("\n"),
  );
  terminal.note(
    options.compose === true
      ? composeSteps(options)
      : nextSteps(options, contractAddress, submitterAddress),
  );
  return EXIT.ok;
}

/** The addresses of docker-compose.yml, where no others were asked for. */
function forCompose(options: CreateOptions): CreateOptions {
  if (options.trustees !== COMPOSE_TRUSTEES)
    throw usageError(
      `--compose is for ${COMPOSE_TRUSTEES} trustees: docker-compose.yml has a service for each, and no more`,
    );
  const { etcd, postgres, rpc } = SERVER_DEFAULTS;
  const same = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();
  return {
    ...options,
    containers: true,
    etcd: same(options.etcd, etcd) ? COMPOSE_ADDRESSES.etcd : options.etcd,
    postgres: options.postgres === postgres ? COMPOSE_ADDRESSES.postgres : options.postgres,
    rpc: same(options.rpc, rpc) ? COMPOSE_ADDRESSES.rpc : options.rpc,
  };
}

/** Keys that stand are never made anew: what is missing beside them is written. */
async function completeCompose(options: CreateOptions, terminal: Terminal): Promise<number> {
  const set = await readClusterFile(join(options.out, "cluster.json"));
  const files = await writeComposeFiles(options.out);
  if (options.json === true)
    terminal.data(jsonDocument({ clusterId: set.clusterId, directory: options.out, files }));
  else
    terminal.data(
      `${options.out}: cluster ${set.clusterId} stands as it was made; ${files.length === 0 ? "nothing was missing" : `written: ${files.join(", ")}`}`,
    );
  terminal.note(composeSteps(options));
  return EXIT.ok;
}

function composeSteps({ out }: CreateOptions): string {
  const compose = `docker compose --env-file ${join(out, "compose.env")}`;
  return [
    "",
    "Next, from the top of the checkout:",
    "  docker build -f deploy/Dockerfile -t quorate:0.1.0 .",
    "  docker build -f deploy/Dockerfile --target anvil -t quorate-anvil:0.1.0 .",
    `  ${compose} --profile anvil up -d`,
    `  ${compose} exec trustee-1 quorate status`,
    `An operator's token for all APIs is in ${join(out, "secrets", "operator.token")}.`,
  ].join("\n");
}

/** All that is wrong with the arguments, at once. */
function checkCreate(options: CreateOptions) {
  const problems = [...thresholdProblems(options.trustees, options.threshold)];
  const take = <T>(result: Result<T, ParseError>): T | null => {
    if (result.ok) return result.value;
    problems.push(result.error.message);
    return null;
  };
  const clusterId = take(parseClusterId(options.name));
  const contractAddress =
    options.contract === undefined ? null : take(parseEvmAddress(options.contract));
  const { protocol } = URL.canParse(options.postgres)
    ? new URL(options.postgres)
    : { protocol: null };
  if (protocol !== "postgres:" && protocol !== "postgresql:")
    problems.push(`--postgres must be a URL that begins with postgres://`);
  if (problems.length > 0 || clusterId === null) throw usageErrors(problems);
  return { clusterId, contractAddress };
}

function nextSteps(
  { out, etcd, rpc }: CreateOptions,
  contract: EvmAddress | null,
  submitter: EvmAddress,
): string {
  const config = join(out, "submitter", "submitter.json");
  const steps = [
    `${COMMAND} cluster init ${join(out, "cluster.json")} --etcd ${etcd.join(",")}`,
    ...(contract === null
      ? [
          `${COMMAND} cluster deploy-contract --rpc ${rpc[0]} --key-file YOUR.key --submitter ${submitter} --update ${config}`,
        ]
      : []),
    `${COMMAND} node --config ${join(out, "trustee-1", "node.json")}`,
    `${COMMAND} submitter --config ${config}`,
  ];
  return ["", "Next:", ...steps.map((step) => `  ${step}`)].join("\n");
}

export async function initClusterAction(
  file: string,
  options: InitOptions,
  terminal: Terminal,
): Promise<number> {
  const set = await readClusterFile(file);
  const outcome = await initCluster(set, options.etcd);
  if (outcome === "another-set")
    throw new CliError(
      `etcd at ${options.etcd.join(",")} holds another trustee set for cluster ${set.clusterId} than ${file}; it was not changed`,
    );
  const { clusterId, epoch, threshold, trustees } = set;
  if (options.json === true)
    terminal.data(
      jsonDocument({ clusterId, epoch, threshold, trustees: trustees.length, outcome }),
    );
  else if (outcome === "created")
    terminal.data(
      `cluster ${clusterId}: epoch ${epoch}, ${threshold} of ${trustees.length} trustees written to etcd`,
    );
  else terminal.data(`cluster ${clusterId}: etcd holds this trustee set already`);
  return EXIT.ok;
}

export async function deployContractAction(
  options: DeployOptions,
  terminal: Terminal,
): Promise<number> {
  const submitter = parseEvmAddress(options.submitter);
  if (!submitter.ok) throw usageError(submitter.error.message);
  const deployerKey = await loadKeyFile(options.keyFile);
  // Before the deployment: a contract that nobody wrote down is money spent for nothing.
  const update = options.update === undefined ? null : await openConfig(options.update);
  const chainId = options.chainId ?? (await chainIdOf(options.rpc));
  terminal.note(`deploying to chain ${chainId} and waiting for a block…`);
  const deployed = await deployRecorder(
    { rpcUrl: options.rpc, chainId, deployerKey, submitter: submitter.value },
    {
      clock: systemClock(),
      logger: createLogger({ level: "warn", pretty: false, destination: "stderr" }),
    },
  );
  const block = Number(deployed.blockNumber);
  await update?.write(deployed.address, block);
  terminal.note(
    update === null
      ? `in block ${block}: set chain.contractAddress, and chain.deployedAtBlock to that`
      : `in block ${block}: written to ${options.update ?? ""}, as chain.deployedAtBlock too`,
  );
  if (update !== null && update.chainId !== chainId)
    terminal.note(
      `${options.update ?? ""} is of chain ${String(update.chainId)}: set chain.chainId to ${chainId}, and chain.rpcUrls`,
    );
  if (options.json === true) terminal.data(jsonDocument({ chainId, ...deployed }));
  else terminal.data(deployed.address);
  return EXIT.ok;
}

async function chainIdOf(rpcUrl: string): Promise<number> {
  const where = new URL(rpcUrl).host;
  try {
    const response = await fetch(rpcUrl, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] }),
      signal: AbortSignal.timeout(10_000),
    });
    const body: unknown = await response.json();
    const id = typeof body === "object" && body !== null && "result" in body ? body.result : null;
    if (typeof id === "string" && /^0x[0-9a-f]+$/i.test(id)) return Number(id);
  } catch (cause) {
    throw new CliError(`no EVM endpoint answers at ${where}`, { cause });
  }
  throw new CliError(`what answers at ${where} is not an EVM endpoint`);
}

interface OpenConfig {
  /** As it is written there. */
  readonly chainId: unknown;
  readonly write: (contract: EvmAddress, deployedAtBlock: number) => Promise<void>;
}

/** Reads a submitter's configuration and gives back what writes the contract's place into it. */
async function openConfig(file: string): Promise<OpenConfig> {
  let config: unknown = null;
  try {
    config = JSON.parse(await readFile(file, "utf8"));
  } catch (cause) {
    throw new CliError(
      `${file} can't be read as a submitter's configuration; nothing was deployed`,
      {
        cause,
      },
    );
  }
  if (typeof config !== "object" || config === null)
    throw new CliError(`${file} is not a submitter's configuration; nothing was deployed`);
  const base = config;
  const chain = "chain" in base && typeof base.chain === "object" ? base.chain : {};
  const chainId = chain !== null && "chainId" in chain ? chain.chainId : undefined;
  const write: OpenConfig["write"] = async (contractAddress, deployedAtBlock) => {
    const updated = { ...base, chain: { ...chain, contractAddress, deployedAtBlock } };
    // Whole or not at all: a submitter may be reading the file.
    await writeFile(`${file}.new`, `${JSON.stringify(updated, null, 2)}\n`);
    await rename(`${file}.new`, file);
  };
  return { chainId, write };
}
