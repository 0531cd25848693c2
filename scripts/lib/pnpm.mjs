import { capture } from "./exec.mjs";
import { SetupError } from "./log.mjs";
import { pinnedPnpm } from "./paths.mjs";

// Corepack fetches pnpm itself, and hangs where only a mirror is reachable.
const PROBE_TIMEOUT_MS = 60_000;

/** The environment packages are installed in: no questions, development tools included. */
export const installEnv = {
  ...process.env,
  CI: "true",
  COREPACK_ENABLE_DOWNLOAD_PROMPT: "0",
  // Set on some servers; it would leave out everything needed here.
  NODE_ENV: "development",
};

/**
 * Finds a way to run the right pnpm: the one on PATH when its major version fits,
 * else Corepack's, else npx's. Resolves to `{command, prefix, name}`.
 */
export async function findPnpm() {
  const pinned = pinnedPnpm();
  const major = pinned.split(".")[0];
  const ways = [
    { command: "pnpm", prefix: [], name: "pnpm" },
    { command: "corepack", prefix: [`pnpm@${pinned}`], name: "pnpm by corepack" },
    { command: "npx", prefix: ["--yes", `pnpm@${pinned}`], name: "pnpm by npx" },
  ];
  const tried = [];
  for (const way of ways) {
    const { code, output } = await capture(way.command, [...way.prefix, "--version"], {
      env: installEnv,
      timeoutMs: PROBE_TIMEOUT_MS,
    });
    const version = /^(\d+)\.\d+\.\d+\S*$/m.exec(output);
    if (code === 0 && version?.[1] === major) return { ...way, name: `${way.name} ${version[0]}` };
    const reason = code === 0 ? `is version ${output.trim()}` : output.trim().split("\n").at(-1);
    tried.push(`  ${way.command}: ${reason}`);
  }
  throw new SetupError(
    `pnpm ${pinned} could not be found or fetched:\n${tried.join("\n")}\n\n` +
      `Install it with:\n  npm install --global pnpm@${pinned}`,
  );
}
