import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import type { DoctorOptions } from "./doctor-action.ts";

/** `doctor`, for whatever the configuration is of. */
export function addDoctorCommand(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("doctor")
    .description("check all that a node or a submitter needs, from its configuration")
    .option("-c, --config <file>", "the configuration of a node or a submitter [QUORATE_CONFIG]")
    .option("--set <path=value>", "any setting by its path; repeatable", collect, [])
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate doctor --config my-cluster/trustee-1/node.json
  quorate doctor --config my-cluster/submitter/submitter.json
  quorate doctor --config node.json --json | jq '.checks[] | select(.level != "ok")'

Run it as the user, and on the machine, that the process runs as and on. It changes nothing and
sends nothing. Exit code 1 when a check failed; a warning alone is 0.`,
    )
    .action(
      done(async (options: DoctorOptions) => {
        const { doctorAction } = await import("./doctor-action.ts");
        return doctorAction(options, terminal);
      }),
    );
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
