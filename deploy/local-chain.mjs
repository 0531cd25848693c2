// Makes an empty Anvil usable: gives the submitter's account money and deploys the recorder, unless the
// submitter's configuration names a contract that is there. For rehearsals only: it knows the key that Anvil
// prints at every start, which is worth nothing on any other chain.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const DEPLOYER_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const FUNDS_WEI = `0x${(10n ** 21n).toString(16)}`;

const config = required("QUORATE_CONFIG");
const submitter = required("QUORATE_SUBMITTER_ADDRESS");
const rpc = process.env.QUORATE_RPC ?? "http://anvil:8545";

const { contractAddress } = JSON.parse(readFileSync(config, "utf8")).chain;
await call("anvil_setBalance", [submitter, FUNDS_WEI]);
const code =
  contractAddress === undefined ? "0x" : await call("eth_getCode", [contractAddress, "latest"]);
if (code !== "0x") {
  process.stdout.write(`the recorder is at ${contractAddress}\n`);
} else {
  const keyFile = "/tmp/anvil.key";
  writeFileSync(keyFile, `${DEPLOYER_KEY}\n`, { mode: 0o600 });
  const flags = ["--rpc", rpc, "--key-file", keyFile, "--submitter", submitter, "--update", config];
  const { status } = spawnSync("quorate", ["cluster", "deploy-contract", ...flags], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
}

async function call(method, params) {
  const response = await fetch(rpc, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    signal: AbortSignal.timeout(10_000),
  });
  const { result, error } = await response.json();
  if (error !== undefined) throw new Error(`${method}: ${error.message}`);
  return result;
}

function required(name) {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set`);
  return value;
}
