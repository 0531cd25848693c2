import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import type { DoctorOptions } from "./doctor-action.ts";

/** `submitter doctor`. The submitter itself is an app and reads its own command line. */
export function addSubmitterCommands(submitter: Command, { terminal, done }: CommandContext): void {
  submitter
    .command("doctor")
    .description(
      "check all that a submitter needs, from its configuration, whether or not one runs",
    )
    .option("-c, --config <file>", "the submitter's configuration file [QUORATE_CONFIG]")
    .option("--set <path=value>", "any setting by its path; repeatable", collect, [])
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate submitter doctor --config my-cluster/submitter/submitter.json
  quorate submitter doctor --config submitter.json --json | jq '.checks[] | select(.level != "ok")'

It changes nothing and sends nothing. Exit code 1 when a check failed; a warning alone is 0.`,
    )
    .action(
      done(async (options: DoctorOptions) => {
        const { doctorAction } = await import("./doctor-action.ts");
        return doctorAction(options, terminal, { kind: "submitter" });
      }),
    );
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
