import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type ApiRole,
  apiTokenEntry,
  createApiToken,
  parseTokenList,
} from "@quorate/telemetry/api-tokens";
import { CliError } from "../failure.ts";

/** A file to write unless it is there, relative to the cluster's directory. */
export interface ComposeFile {
  readonly path: string;
  readonly content: string;
  readonly mode: number;
}

interface Grant {
  readonly name: string;
  readonly role: ApiRole;
  /** The file that holds the token itself. */
  readonly file: string;
}

const OPERATOR_FILE = "secrets/operator.token";

/**
 * The tokens of a compose cluster, each in a file of its own, and the lists that let them in: an operator everywhere,
 * each trustee's own program to vote through its node, and each node to read at the submitter.
 * A token that is there is let in as it is; a list that is there stays, so that what was taken from it stays out.
 * @throws CliError when a list that is there lacks a token that would have to be made: nobody could use it
 */
export async function composeTokenFiles(
  directory: string,
  nodeIds: readonly string[],
): Promise<readonly ComposeFile[]> {
  const operator: Grant = { name: "operator", role: "operate", file: OPERATOR_FILE };
  const lists: readonly (readonly [string, readonly Grant[]])[] = [
    ...nodeIds.map((nodeId): readonly [string, readonly Grant[]] => [
      `${nodeId}/tokens.json`,
      [operator, { name: "voter", role: "vote", file: `${nodeId}/vote.token` }],
    ]),
    [
      "submitter/tokens.json",
      [
        operator,
        ...nodeIds.map(
          (nodeId): Grant => ({ name: nodeId, role: "read", file: `${nodeId}/submitter.token` }),
        ),
      ],
    ],
  ];
  const tokens = new Map<string, string>();
  const made = new Set<string>();
  for (const { file, name, role } of lists.flatMap(([, grants]) => grants)) {
    if (tokens.has(file)) continue;
    const present = await textOf(join(directory, file));
    if (present === null) made.add(file);
    tokens.set(file, present?.trim() ?? createApiToken(name, role).token);
  }
  const files: ComposeFile[] = [...made].map((file) => ({
    path: file,
    content: tokens.get(file) ?? "",
    mode: 0o600,
  }));
  const orphans: string[] = [];
  for (const [path, grants] of lists) {
    const present = await textOf(join(directory, path));
    if (present === null) {
      const lines = grants.map(({ file, name, role }) =>
        JSON.stringify(apiTokenEntry(tokens.get(file) ?? "", name, role)),
      );
      files.push({ path, content: `[\n  ${lines.join(",\n  ")}\n]`, mode: 0o600 });
      continue;
    }
    const read = parseTokenList(present);
    if (!read.ok) throw new CliError(`${join(directory, path)} ${read.error}`);
    if (grants.some(({ file }) => made.has(file))) orphans.push(path);
  }
  if (orphans.length > 0)
    throw new CliError(
      `${[...made].join(", ")} missing in ${directory}, while ${orphans.join(", ")} would let only the old ones in: ` +
        "put the tokens back, or remove these lists too and all of it is made anew; nothing was changed",
    );
  return files;
}

async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return null;
    throw new CliError(`${path} can't be read`, { cause });
  }
}
