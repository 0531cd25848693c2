import { DEFAULT_PROTOCOL_CONFIG } from "@quorate/core";
import { type Command, Option } from "commander";
import type { CommandContext } from "../context.ts";
import { anyNumber, httpUrl, httpUrls, SERVER_DEFAULTS, wholeNumber } from "../options.ts";
import type { CreateOptions, DeployOptions, InitOptions } from "./cluster-actions.ts";

/** Below the first port of the range that clusters on one machine use. */
const BASE_PORT = { fallback: 7_600, min: 1_024, max: 65_335 };

/** `cluster create`, `init` and `deploy-contract`. */
export function addClusterCommands(program: Command, context: CommandContext): void {
  const cluster = program.command("cluster").description("make a cluster and put it in place");
  const { terminal, done } = context;
  addCreate(cluster, context);
  cluster
    .command("init")
    .description("write a cluster's trustee set into etcd; a set that stands is never replaced")
    .argument("<file>", "cluster.json as made by `cluster create`")
    .requiredOption("--etcd <urls>", "etcd endpoints, separated by commas", httpUrls)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      "\nExample:\n  quorate cluster init my-cluster/cluster.json --etcd http://127.0.0.1:2379",
    )
    .action(
      done(async (file: string, options: InitOptions) =>
        (await import("./cluster-actions.ts")).initClusterAction(file, options, terminal),
      ),
    );
  cluster
    .command("deploy-contract")
    .description("deploy the recorder contract; each call deploys another one")
    .requiredOption("--rpc <url>", "EVM endpoint", httpUrl)
    .requiredOption("--key-file <file>", "private key that pays for it and owns the contract")
    .requiredOption("--submitter <address>", "the only account that may record")
    .option("--chain-id <number>", "refuse another chain than this", wholeNumber(1, 2 ** 48))
    .option("--update <file>", "submitter.json to write the contract's address into")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Example:
  quorate cluster deploy-contract --rpc http://127.0.0.1:8545 --key-file deployer.key \\
    --submitter 0x70997970c51812dc3a010c7d01b50e0d17dc79c8 --update my-cluster/submitter/submitter.json`,
    )
    .action(
      done(async (options: DeployOptions) =>
        (await import("./cluster-actions.ts")).deployContractAction(options, terminal),
      ),
    );
}

function addCreate(cluster: Command, { terminal, done }: CommandContext): void {
  const { policy, profile, settleMs, deadlineMs, silenceStreakMax } = DEFAULT_PROTOCOL_CONFIG;
  cluster
    .command("create")
    .description("make keys and configurations of a new cluster in a new directory")
    .requiredOption("--trustees <n>", "number of trustees, 1 to 100", anyNumber)
    .requiredOption("--threshold <t>", "identical votes that decide", anyNumber)
    .requiredOption("--out <dir>", "directory to make; must not exist or be empty")
    .option("--name <id>", "the cluster's id", "quorate")
    .option("--etcd <urls>", "etcd endpoints, separated by commas", httpUrls, [
      ...SERVER_DEFAULTS.etcd,
    ])
    .option("--postgres <url>", "PostgreSQL of the submitter", SERVER_DEFAULTS.postgres)
    .option("--rpc <urls>", "EVM endpoints, separated by commas", httpUrls, [
      ...SERVER_DEFAULTS.rpc,
    ])
    .option("--chain-id <number>", "the chain's id", wholeNumber(1, 2 ** 48), 31_337)
    .option("--contract <address>", "recorder contract, if it is deployed already")
    .option("--confirmations <k>", "blocks that make one final", wholeNumber(0, 10_000), 2)
    .addOption(
      new Option("--policy <policy>", "what dissent does to a transaction")
        .choices(["strict-abort", "quarantine-and-continue"])
        .default(policy),
    )
    .addOption(
      new Option("--profile <profile>", "how hard silence is punished")
        .choices(["strict", "balanced"])
        .default(profile),
    )
    .option("--settle-ms <ms>", "settle window", wholeNumber(0, 600_000), settleMs)
    .option("--deadline-ms <ms>", "deadline", wholeNumber(100, 86_400_000), deadlineMs)
    .option("--silence-streak <n>", "silences that ban", wholeNumber(1, 1_000), silenceStreakMax)
    .option(
      "--base-port <port>",
      "submitter API; node i at base+i, its API at base+100+i",
      wholeNumber(BASE_PORT.min, BASE_PORT.max),
      BASE_PORT.fallback,
    )
    .option("--containers", "each in a container that has its node id as DNS name")
    .option("--compose", "for docker-compose.yml: its addresses, passwords and variables")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate cluster create --trustees 5 --threshold 4 --out my-cluster
  quorate cluster create --compose --trustees 5 --threshold 4 --out cluster
  quorate cluster create --trustees 7 --threshold 5 --out prod --name prod --containers \\
    --etcd http://etcd-1:2379,http://etcd-2:2379,http://etcd-3:2379`,
    )
    .action(
      done(async (options: CreateOptions) =>
        (await import("./cluster-actions.ts")).createClusterAction(options, terminal),
      ),
    );
}
