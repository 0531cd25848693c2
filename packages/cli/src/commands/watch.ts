import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { httpUrl, wholeNumber } from "../options.ts";
import type { WatchOptions } from "./watch-action.ts";

const INTERVAL_MS = { fallback: 1_000, min: 200, max: 3_600_000 };

/** `watch`: the cluster as it is now, and again. */
export function addWatchCommand(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("watch")
    .description("show trustees, transactions and submitter, kept up to date")
    .option("-n, --node <url>", "node to ask [QUORATE_NODE]", httpUrl)
    .option("--submitter <url>", "submitter to ask [QUORATE_SUBMITTER]", httpUrl)
    .option(
      "--interval-ms <ms>",
      "time between two looks",
      wholeNumber(INTERVAL_MS.min, INTERVAL_MS.max),
      INTERVAL_MS.fallback,
    )
    .option("--count <n>", "end after so many looks", wholeNumber(1, 1_000_000))
    .option("--json", "print one JSON document a look, each on a line")
    .addHelpText(
      "after",
      `
Examples:
  quorate watch
  quorate watch --node http://127.0.0.1:7702 --interval-ms 5000
  quorate watch --json --count 1 | jq .node.value.ready

On a terminal it draws; q or Ctrl-C ends it. Elsewhere it prints a line whenever something has changed.`,
    )
    .action(
      done(async (options: WatchOptions) => {
        const { watchAction } = await import("./watch-action.ts");
        return watchAction(options, terminal);
      }),
    );
}
