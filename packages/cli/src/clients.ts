import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { createNodeClient, type NodeClient } from "@quorate/localcluster/client";
import { createSubmitterClient, type SubmitterClient } from "./commands/submissions-client.ts";
import { CliError } from "./failure.ts";
import { nodeUrlFrom, submitterUrlFrom } from "./options.ts";

/** Where `--token-file` puts its value, so that it is asked for in one place. */
export const TOKEN_FILE_ENV = "QUORATE_TOKEN_FILE";

type Env = Readonly<Record<string, string | undefined>>;

/** The node that is meant, with the token of `--token-file`. @throws CliError when that can't be used */
export function nodeClientFrom(flag: string | undefined, env: Env): NodeClient {
  return createNodeClient(nodeUrlFrom(flag, env), { token: tokenFrom(env) });
}

/** The submitter that is meant, likewise. @throws CliError */
export function submitterClientFrom(flag: string | undefined, env: Env): SubmitterClient {
  return createSubmitterClient(submitterUrlFrom(flag, env), { token: tokenFrom(env) });
}

/** The token to ask with; undefined when none is named. Never on the command line itself, where every process could read it. */
export function tokenFrom(env: Env): string | undefined {
  const path = env[TOKEN_FILE_ENV];
  if (path === undefined || path === "") return undefined;
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    throw new CliError(`token file ${path} can't be read`, { cause });
  }
  try {
    if ((fstatSync(file).mode & 0o077) !== 0)
      throw new CliError(`token file ${path} can be read by others: run chmod 600 ${path}`);
    const token = readFileSync(file, "utf8").trim();
    if (/^[A-Za-z0-9._~+/=-]{1,200}$/.test(token)) return token;
    throw new CliError(`token file ${path} must hold one token (its content is not shown)`);
  } finally {
    closeSync(file);
  }
}
