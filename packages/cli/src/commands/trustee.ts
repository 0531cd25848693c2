import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { anyNumber, httpUrls, wholeNumber } from "../options.ts";
import type {
  AddOptions,
  ListOptions,
  RemoveOptions,
  ThresholdOptions,
} from "./trustee-actions.ts";
import type { CreateNodeOptions } from "./trustee-create.ts";

/** `trustee list`, `create`, `add`, `remove` and `threshold`: who may vote, and how many must agree. */
export function addTrusteeCommands(program: Command, context: CommandContext): void {
  const { terminal, done } = context;
  const trustee = program
    .command("trustee")
    .description("who may vote, and how many must agree; each change is a new epoch");
  const load = async () => {
    const actions = await import("./trustee-actions.ts");
    return { ...actions, world: actions.realWorld() };
  };

  command(trustee, "list")
    .description("the trustees in force, what they tolerate, and who else is on the network")
    .option("--epochs", "also the epochs before, and what each changed")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate trustee list --etcd http://127.0.0.1:2379
  quorate trustee list --etcd http://127.0.0.1:2379 --json | jq -r '.observers[].peerId'`,
    )
    .action(
      done(async (options: ListOptions) => {
        const { listTrustees, world } = await load();
        return listTrustees(options, terminal, world);
      }),
    );

  addCreate(trustee, context);

  command(trustee, "add")
    .description("admit a node as a trustee, from the next epoch on")
    .argument("<node-id>", "the nodeId in its configuration")
    .requiredOption("--peer-id <id>", "its peer id (12D3KooW…), which its public key lies in")
    .requiredOption("--evm-address <address>", "its EVM account")
    .option("-t, --threshold <t>", "identical votes that decide from then on", anyNumber)
    .option("--dry-run", "show the next set and what it tolerates, and change nothing")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate trustee add trustee-5 --peer-id 12D3KooW… --evm-address 0x… --etcd http://127.0.0.1:2379 --dry-run
  quorate trustee add trustee-6 --peer-id 12D3KooW… --evm-address 0x… --threshold 5 --etcd http://127.0.0.1:2379

Start the node first: it says its peer id, and \`quorate trustee list\` shows it among those without a say.`,
    )
    .action(
      done(async (nodeId: string, options: AddOptions) => {
        const { addTrusteeAction, world } = await load();
        return addTrusteeAction(nodeId, options, terminal, world);
      }),
    );

  command(trustee, "remove")
    .description("take a trustee out, from the next epoch on")
    .argument("<node-id>", "the trustee's name")
    .option("-t, --threshold <t>", "identical votes that decide from then on", anyNumber)
    .option(
      "-w, --wait",
      "wait until no open transaction needs it; may be repeated after a removal",
    )
    .option("--dry-run", "show the next set and what it tolerates, and change nothing")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate trustee remove trustee-2 --etcd http://127.0.0.1:2379 --wait
  quorate trustee remove trustee-2 --threshold 3 --etcd http://127.0.0.1:2379 --dry-run

Open transactions keep their trustees: leave its node running until --wait says that it may be stopped.`,
    )
    .action(
      done(async (nodeId: string, options: RemoveOptions) => {
        const { removeTrusteeAction, world } = await load();
        return removeTrusteeAction(nodeId, options, terminal, world);
      }),
    );

  command(trustee, "threshold")
    .description("change how many must agree, from the next epoch on")
    .argument("<t>", "identical votes that decide", anyNumber)
    .option("--dry-run", "show what the next set tolerates, and change nothing")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      "\nExample:\n  quorate trustee threshold 4 --etcd http://127.0.0.1:2379 --dry-run",
    )
    .action(
      done(async (threshold: number, options: ThresholdOptions) => {
        const { changeThresholdAction, world } = await load();
        return changeThresholdAction(threshold, options, terminal, world);
      }),
    );
}

function addCreate(trustee: Command, { terminal, done }: CommandContext): void {
  command(trustee, "create")
    .description("make the key and the configuration of a node that is to join")
    .argument("<node-id>", "its name in the cluster")
    .requiredOption("--bootstrap <addrs>", "one address of a node that runs, or several", list)
    .requiredOption("--out <dir>", "directory to make; must not exist or be empty")
    .option("--listen <addr>", "multiaddr to listen on", "/ip4/0.0.0.0/tcp/4001")
    .option("--announce <addr>", "multiaddr under which others reach it, when that is another")
    .option("--api-port <port>", "of its API, on 127.0.0.1", wholeNumber(1, 65_535), 7_701)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Example:
  quorate trustee create trustee-5 --cluster my-cluster/cluster.json --etcd http://127.0.0.1:2379 \\
    --bootstrap /ip4/10.0.0.1/tcp/4001/p2p/12D3KooW… --out trustee-5`,
    )
    .action(
      done(async (nodeId: string, options: CreateNodeOptions) =>
        (await import("./trustee-create.ts")).createNodeAction(nodeId, options, terminal),
      ),
    );
}

/** For commander: texts separated by commas. */
function list(text: string): readonly string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

/** With the options that all of them have. */
function command(parent: Command, name: string): Command {
  return parent
    .command(name)
    .requiredOption("--etcd <urls>", "etcd endpoints, separated by commas", httpUrls)
    .option("-c, --cluster <id>", "the cluster's id, or the path of its cluster.json", "quorate");
}
