import { LIMITS, SUBMISSION_MOVES, type SubmissionState } from "@quorate/core";
import { type Command, InvalidArgumentError } from "commander";
import type { CommandContext } from "../context.ts";
import { httpUrl, wholeNumber } from "../options.ts";
import { operatorDefault } from "./bans.ts";
import type {
  ListOptions,
  OperatorOptions,
  ShowOptions,
  UnfreezeOptions,
} from "./submissions-actions.ts";

const LIST_LIMIT_DEFAULT = 50;
/** What the API gives at once. */
const LIST_LIMIT_MAX = 500;

/** `submissions list|show|retry|freeze|unfreeze`: what is on its way to the chain, and what a person may decide about it. */
export function addSubmissionsCommands(program: Command, { terminal, done }: CommandContext): void {
  const submissions = program
    .command("submissions")
    .description("what is on its way to the chain, and what a person may decide about it");
  const actions = () => import("./submissions-actions.ts");

  asks(submissions, "list")
    .description("submissions that are not archived, oldest first")
    .option("--state <states>", `only these, with commas: ${STATES.join(", ")}`, statesFrom)
    .option("--limit <n>", "at most so many", wholeNumber(1, LIST_LIMIT_MAX), LIST_LIMIT_DEFAULT)
    .option("--after <next>", "go on where the page before ended")
    .addHelpText(
      "after",
      `
Examples:
  quorate submissions list
  quorate submissions list --state QUARANTINED --json | jq -r '.submissions[].txId'`,
    )
    .action(
      done(async (options: ListOptions) =>
        (await actions()).listSubmissionsAction(options, terminal),
      ),
    );
  asks(submissions, "show")
    .description("one submission: its nonces, all that was signed for them, and every move")
    .argument("<tx>", "transaction id")
    .addHelpText(
      "after",
      `
Examples:
  quorate submissions show tx-1
  quorate submissions show tx-1 --json | jq '.slots[].attempts'`,
    )
    .action(
      done(async (tx: string, options: ShowOptions) =>
        (await actions()).showSubmissionAction(tx, options, terminal),
      ),
    );
  decides(asks(submissions, "retry"))
    .description("put a quarantined submission back into the queue")
    .argument("<tx>", "transaction id")
    .addHelpText(
      "after",
      `
Examples:
  quorate submissions retry tx-1 --reason "the account has money again"

Refused while the nonce it had may still be mined (SLOT_LIVE), and for what is not quarantined.`,
    )
    .action(
      done(async (tx: string, options: OperatorOptions) =>
        (await actions()).retrySubmissionAction(tx, options, terminal),
      ),
    );
  decides(asks(submissions, "freeze"))
    .description("sign nothing new; what was signed before goes on to finality")
    .addHelpText(
      "after",
      `
Examples:
  quorate submissions freeze --reason "the key may be known to others"`,
    )
    .action(
      done(async (options: OperatorOptions) => (await actions()).freezeAction(options, terminal)),
    );
  decides(asks(submissions, "unfreeze"))
    .description("show what differs between the database and the chain, then resume")
    .option("--accept-differences", "resume although something differs")
    .addHelpText(
      "after",
      `
Examples:
  quorate submissions unfreeze --reason "restored and compared"`,
    )
    .action(
      done(async (options: UnfreezeOptions) => (await actions()).unfreezeAction(options, terminal)),
    );
}

function asks(parent: Command, name: string): Command {
  return parent
    .command(name)
    .option("--submitter <url>", "submitter to ask, leading or not [QUORATE_SUBMITTER]", httpUrl)
    .option("--json", "print one JSON document");
}

function decides(command: Command): Command {
  return command
    .requiredOption(
      "-r, --reason <text>",
      `why, up to ${LIMITS.liftReasonCharsMax} characters; recorded`,
    )
    .option("--operator <name>", "who decides; recorded", operatorDefault());
}

const STATES = Object.keys(SUBMISSION_MOVES);

function statesFrom(text: string): readonly SubmissionState[] {
  const isState = (word: string): word is SubmissionState => Object.hasOwn(SUBMISSION_MOVES, word);
  const words = text.split(",").map((word) => word.trim().toUpperCase());
  if (words.every(isState)) return words;
  throw new InvalidArgumentError(`It must be one or more of ${STATES.join(", ")}.`);
}
