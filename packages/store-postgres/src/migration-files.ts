import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** Where migrations are unless told otherwise; the same from src/ and from dist/. */
export const MIGRATIONS_DIRECTORY = fileURLToPath(new URL("../../../sql", import.meta.url));

const MIGRATION = /^(\d{4}_[a-z0-9_]+)\.sql$/;

/** Everything in the directory that is not a numbered .sql file is left alone: a pattern for the runner. */
export const NOT_A_MIGRATION = "(?!\\d{4}_[a-z0-9_]+\\.sql$).*";

/** The migrations that this release has, in their order. */
export async function knownMigrations(
  directory: string = MIGRATIONS_DIRECTORY,
): Promise<readonly string[]> {
  const files = await readdir(directory);
  return files.flatMap((file) => MIGRATION.exec(file)?.[1] ?? []).toSorted();
}
