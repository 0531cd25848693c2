import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import type { DemoOptions } from "../demo/run-demo.ts";
import { etcdMembers } from "../options.ts";

/** `demo`: seven scenarios on real processes. */
export function addDemoCommand(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("demo")
    .description("run seven scenarios, honest and Byzantine, on real processes and check each")
    .option("--etcd <members>", "etcd members, 1 or 3", etcdMembers, 1)
    .option("--only <names>", "scenarios to run, separated by commas")
    .option("--keep", "keep the directory with keys, configurations, data and logs")
    .option("--steps <dir>", "record each step on durable state there, for check:trace")
    .option("--json", "print one JSON document on stdout; the story goes to stderr")
    .addHelpText(
      "after",
      `
Scenarios (t = 4 of 5): consensus, minority-late, minority-first, double-vote, bad-signature,
silent, split. Exit code 0 only if each ended as it must.

Examples:
  quorate demo
  quorate demo --only consensus,double-vote
  npm run demo -- --steps /tmp/steps && npm run check:trace -- /tmp/steps
  quorate demo --json 2>/dev/null | jq '.scenarios[] | [.name, .status]'`,
    )
    .action(
      done(async (options: DemoOptions) =>
        (await import("../demo/run-demo.ts")).runDemo(options, terminal),
      ),
    );
}
