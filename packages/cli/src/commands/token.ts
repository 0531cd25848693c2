import { readFileSync, writeFileSync } from "node:fs";
import {
  API_ROLES,
  createApiToken,
  isApiRole,
  isTokenName,
  parseTokenList,
} from "@quorate/telemetry/api-tokens";
import { type Command, InvalidArgumentError } from "commander";
import type { CommandContext } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";
import { jsonDocument } from "../terminal.ts";

interface TokenOptions {
  readonly name: string;
  readonly role: "read" | "vote" | "operate";
  readonly file?: string;
  readonly json?: true;
}

/** `token create`. */
export function addTokenCommand(program: Command, { terminal, done }: CommandContext): void {
  const token = program
    .command("token")
    .description("tokens for the HTTP API of nodes and submitters");
  token
    .command("create")
    .description("make a token: it is shown once, and its file keeps only its hash")
    .requiredOption("--name <name>", "who it is for", tokenName)
    .requiredOption("--role <role>", `one of ${API_ROLES.join(", ")}`, role)
    .option("--file <file>", "add it to this token file, which is made if it is not there")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Every token may read. A token with the role vote may also cast the trustee's votes, one with the role
operate may also lift bans, retry, freeze and thaw. The file is api.tokensFile in the configuration; it
is read again when it changes.

Examples:
  quorate token create --name grafana --role read --file tokens.json
  quorate token create --name ada --role operate --json | jq -r .token > ~/.quorate-token`,
    )
    .action(
      done(async ({ name, role: as, file, json }: TokenOptions) => {
        const made = createApiToken(name, as);
        if (file !== undefined) addToFile(file, made.entry);
        if (json === true) {
          terminal.data(jsonDocument(made));
          return EXIT.ok;
        }
        terminal.note(
          file === undefined
            ? `The line for the token file (a JSON list, mode 0600):\n  ${JSON.stringify(made.entry)}\nThe token, shown this once:`
            : `${name} was added to ${file}. The token, shown this once:`,
        );
        terminal.data(made.token);
        return EXIT.ok;
      }),
    );
}

function addToFile(path: string, entry: object): void {
  let text = "[]";
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const isMissing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    if (!isMissing) throw new CliError(`${path} can't be read`, { cause });
  }
  const present = parseTokenList(text);
  if (!present.ok) throw new CliError(`${path} ${present.error}; nothing was changed`);
  const next = `[\n${[...present.value, entry].map((e) => `  ${JSON.stringify(e)}`).join(",\n")}\n]\n`;
  const checked = parseTokenList(next);
  if (!checked.ok) throw new CliError(`${checked.error}; nothing was changed`);
  writeFileSync(path, next, { mode: 0o600 });
}

function tokenName(text: string): string {
  if (isTokenName(text)) return text;
  throw new InvalidArgumentError("It must be 1 to 64 of A-Z a-z 0-9 . _ -");
}

function role(text: string): string {
  if (isApiRole(text)) return text;
  throw new InvalidArgumentError(`It must be one of ${API_ROLES.join(", ")}.`);
}
