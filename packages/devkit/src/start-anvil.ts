import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { DevkitError } from "./errors.ts";
import { freePort } from "./free-port.ts";
import { locateAnvil } from "./locate-anvil.ts";
import { environmentWithout } from "./run-program.ts";
import { type LoggedProcess, spawnLogged } from "./spawn-logged.ts";
import { waitReady } from "./wait-ready.ts";

const READY_TIMEOUT_MS = 30_000;
const PORT_ATTEMPTS_MAX = 5;
const CHAIN_ID_DEFAULT = 31_337;
const ACCOUNTS = 10;
// Anvil's own well-known phrase, stated so that addresses never change under us. Worthless elsewhere.
const MNEMONIC = "test test test test test test test test test test test junk";

type Cancellable = { readonly signal?: AbortSignal | undefined };
type Hex = `0x${string}`;

/** A funded account of the local chain. The key is public knowledge. */
export type AnvilAccount = { readonly address: Hex; readonly privateKey: Hex };

export type StartAnvilParameters = {
  /** Mines one block in this interval; without it, one block per transaction, at once. */
  readonly blockTimeSeconds?: number;
  readonly chainId?: number;
  /** `finalized` lies two epochs behind the head, `safe` one. Default 32, as on mainnet. */
  readonly slotsInAnEpoch?: number;
  /** Chain state is loaded from here and written back on `stop` (not on `kill`). */
  readonly stateFile?: string;
  /** Fixed port; default a free one. */
  readonly port?: number;
  /** Default: a temporary file, removed when the server ends. */
  readonly logFile?: string;
  /** Cancels the start-up only. */
  readonly signal?: AbortSignal | undefined;
};

export type AnvilServer = {
  readonly rpcUrl: string;
  readonly port: number;
  readonly pid: number;
  readonly chainId: number;
  readonly accounts: readonly AnvilAccount[];
  readonly logFile: string;
  /** Ends it in good order, writing `stateFile`. Idempotent. */
  stop(options?: Cancellable): Promise<void>;
  /** SIGKILL, as a crash would look. Idempotent. */
  kill(options?: Cancellable): Promise<void>;
  pause(options?: Cancellable): Promise<void>;
  resume(options?: Cancellable): Promise<void>;
};

/**
 * Starts a local EVM chain on 127.0.0.1 and waits until its RPC answers with the right chain id.
 *
 * @throws DevkitError `ANVIL_NOT_FOUND`, `PORT_TAKEN`, `SERVER_EXITED`, `WAIT_TIMEOUT`.
 */
export async function startAnvil(parameters: StartAnvilParameters = {}): Promise<AnvilServer> {
  const { signal } = parameters;
  const binary = await locateAnvil({ signal });
  for (let attempt = 1; ; attempt++) {
    const port = parameters.port ?? (await freePort({ signal }));
    try {
      return await launch({ ...parameters, binary, port });
    } catch (error) {
      if (!(error instanceof DevkitError) || error.code !== "PORT_TAKEN") throw error;
      if (parameters.port !== undefined || attempt === PORT_ATTEMPTS_MAX) throw error;
    }
  }
}

type LaunchParameters = StartAnvilParameters & {
  readonly binary: string;
  readonly port: number;
};

async function launch(parameters: LaunchParameters): Promise<AnvilServer> {
  const { port, signal, chainId = CHAIN_ID_DEFAULT } = parameters;
  const scratchDir = await mkdtemp(join(tmpdir(), "quorate-anvil-"));
  const cleanUp = (): Promise<void> => rm(scratchDir, { recursive: true, force: true });
  const rpcUrl = `http://127.0.0.1:${port}`;
  const configFile = join(scratchDir, "config.json");
  const logFile = resolve(parameters.logFile ?? join(scratchDir, "anvil.log"));
  const running: LoggedProcess = await spawnLogged({
    name: "anvil",
    command: parameters.binary,
    args: anvilArgs({ ...parameters, chainId, configFile }),
    logFile,
    env: environmentWithout("ANVIL_"),
  });
  try {
    await waitReady(running, (options) => answersWith(rpcUrl, chainId, options), {
      name: "anvil",
      timeoutMs: READY_TIMEOUT_MS,
      signal,
    });
    const accounts = parseAnvilAccounts(await readFile(configFile, "utf8"));
    // However it ends; `stop` and `kill` below wait for it as well.
    void running.exited.then(cleanUp);
    return {
      rpcUrl,
      port,
      pid: running.pid,
      chainId,
      accounts,
      logFile,
      stop: async (options) => {
        await running.stop(options);
        await cleanUp();
      },
      kill: async (options) => {
        await running.kill(options);
        await cleanUp();
      },
      pause: running.pause,
      resume: running.resume,
    };
  } catch (error) {
    await running.kill();
    await cleanUp();
    throw error;
  }
}

function anvilArgs({
  port,
  chainId,
  configFile,
  stateFile,
  blockTimeSeconds,
  slotsInAnEpoch = 32,
}: LaunchParameters & { chainId: number; configFile: string }): readonly string[] {
  return [
    ["--host", "127.0.0.1"],
    ["--port", String(port)],
    ["--chain-id", String(chainId)],
    ["--accounts", String(ACCOUNTS)],
    ["--mnemonic", MNEMONIC],
    ["--slots-in-an-epoch", String(slotsInAnEpoch)],
    ["--config-out", configFile],
    blockTimeSeconds === undefined ? [] : ["--block-time", String(blockTimeSeconds)],
    stateFile === undefined ? [] : ["--state", resolve(stateFile)],
  ].flat();
}

async function answersWith(
  rpcUrl: string,
  chainId: number,
  { signal }: { signal: AbortSignal },
): Promise<boolean> {
  try {
    const response = await fetch(rpcUrl, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] }),
      signal,
    });
    const body: unknown = await response.json();
    return isRecord(body) && body["result"] === `0x${chainId.toString(16)}`;
  } catch {
    return false;
  }
}

/** Reads the accounts out of the file Anvil writes with `--config-out`. */
export function parseAnvilAccounts(text: string): readonly AnvilAccount[] {
  const config: unknown = JSON.parse(text);
  if (!isRecord(config)) throw new Error("anvil wrote no account list");
  const { available_accounts: addresses, private_keys: keys } = config;
  if (!Array.isArray(addresses) || !Array.isArray(keys) || addresses.length !== keys.length) {
    throw new Error("anvil wrote no account list");
  }
  return addresses.map((address: unknown, index) => {
    const privateKey: unknown = keys[index];
    if (!isHex(address) || !isHex(privateKey)) throw new Error("anvil wrote a malformed account");
    return { address, privateKey };
  });
}

function isHex(value: unknown): value is Hex {
  return typeof value === "string" && /^0x[0-9a-fA-F]+$/.test(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
