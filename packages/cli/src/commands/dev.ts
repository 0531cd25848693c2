import type { Command } from "commander";
import { Option } from "commander";
import type { CommandContext } from "../context.ts";
import type { DevAttackOptions } from "../dev/attack.ts";
import type { DevTarget } from "../dev/down.ts";
import type { DevUpOptions } from "../dev/up.ts";
import { anyNumber, etcdMembers } from "../options.ts";

const DIRECTORY_DEFAULT = ".quorate/dev";

/** `dev up`, `down`, `status` and `attack`: a whole cluster on this machine. */
export function addDevCommands(program: Command, { terminal, done }: CommandContext): void {
  const dev = program.command("dev").description("run a whole cluster on this machine");
  dev
    .command("up")
    .description(
      "start etcd, PostgreSQL, Anvil, the trustees' nodes and the submitter; Ctrl-C stops all",
    )
    .option("--trustees <n>", "number of trustees", anyNumber, 5)
    .option("--threshold <t>", "identical votes that decide", anyNumber, 4)
    .option("--etcd <members>", "etcd members, 1 or 3", etcdMembers, 1)
    .option("--detach", "return once all is ready; `quorate dev down` stops it")
    .option("--dir <dir>", "where data, keys and logs go; begins anew each time", DIRECTORY_DEFAULT)
    .option("--json", "print one JSON document once all is ready")
    .addOption(new Option("--supervised", "is the process behind --detach").hideHelp())
    .addHelpText(
      "after",
      `
Examples:
  quorate dev up
  quorate dev up --trustees 7 --threshold 5 --etcd 3 --detach
  quorate vote tx-1 42 --node http://127.0.0.1:7702`,
    )
    .action(
      done(async (options: DevUpOptions) =>
        (await import("../dev/up.ts")).devUp(options, terminal),
      ),
    );
  dev
    .command("down")
    .description("stop what `dev up` started")
    .option("--dir <dir>", "the directory given to `dev up`", DIRECTORY_DEFAULT)
    .option("--json", "print one JSON document")
    .addHelpText("after", "\nExample:\n  quorate dev down")
    .action(
      done(async (options: DevTarget) =>
        (await import("../dev/down.ts")).devDown(options, terminal),
      ),
    );
  dev
    .command("status")
    .description("show the health of each part; exit code 1 when one is not well")
    .option("--dir <dir>", "the directory given to `dev up`", DIRECTORY_DEFAULT)
    .option("--json", "print one JSON document")
    .addHelpText("after", "\nExample:\n  quorate dev status --json | jq .ok")
    .action(
      done(async (options: DevTarget) =>
        (await import("../dev/status.ts")).devStatus(options, terminal),
      ),
    );
  dev
    .command("attack")
    .description(
      "rehearse attacks on a cluster that is started for it, and check how it takes each",
    )
    .argument("[names...]", "attacks to run")
    .option("--list", "say which attacks there are")
    .option("--all", "run every attack: several minutes")
    .option("--short", "run those of the short run: about a minute")
    .option("--dir <dir>", "keep keys, data and logs in a new folder there")
    .option("--json", "print one JSON document; progress goes to stderr")
    .addHelpText(
      "after",
      `
Examples:
  quorate dev attack --list
  quorate dev attack split-equivocation --dir rehearsal`,
    )
    .action(
      done(async (names: readonly string[], options: DevAttackOptions) =>
        (await import("../dev/attack.ts")).devAttack(names, options),
      ),
    );
}
