import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

// Works from src and from dist alike.
const REPO_ROOT = findRepoRoot(import.meta.dirname);

/** Where the project keeps what it downloaded or computed and can make again. */
export const CACHE_DIR = join(REPO_ROOT, ".cache");

function findRepoRoot(start: string): string {
  for (let directory = start; ; directory = dirname(directory)) {
    if (existsSync(join(directory, "pnpm-workspace.yaml"))) return directory;
    if (directory === dirname(directory)) return start;
  }
}
