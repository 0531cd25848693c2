import type { Command } from "commander";
import { Option } from "commander";
import type { CommandContext } from "../context.ts";
import { anyNumber, etcdMembers } from "../options.ts";
import type { DevUpOptions } from "../dev/up.ts";
import type { DevTarget } from "../dev/down.ts";

const DIRECTORY_DEFAULT = ".quorate/dev";

/** `dev up`, `down` and `status`: a whole cluster on this machine. */
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
}
