import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../failure.ts";
import { httpUrl, nodeUrlFrom } from "../options.ts";
import { jsonDocument } from "../terminal.ts";

interface HealthOptions {
  readonly url?: string;
  readonly ready?: true;
  readonly json?: true;
}

const TIMEOUT_MS = 5_000;

/** `healthcheck`: one question, answered by the exit code. For containers, which have no curl. [spec §12.3] */
export function addHealthcheckCommand(program: Command, { terminal, done }: CommandContext): void {
  program
    .command("healthcheck")
    .description("ask a node or a submitter whether it serves; exit code 0 or 1")
    .option(
      "--url <url>",
      "its API; else the one of QUORATE_CONFIG's file on this machine",
      httpUrl,
    )
    .option("--ready", "ask whether work may be sent to it, and say why not")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      `
Examples:
  quorate healthcheck
  quorate healthcheck --url http://127.0.0.1:7701 --ready

In a Dockerfile: HEALTHCHECK CMD ["quorate", "healthcheck"]. A process that waits for etcd serves and is not
ready; to start it again would not help it, so a container's check asks without --ready.`,
    )
    .action(
      done(async ({ url, ready, json }: HealthOptions) => {
        const base = (url ?? (await configuredUrl(process.env))).replace(/\/+$/, "");
        const { ok, detail } = await ask(base, ready === true ? "/ready" : "/health");
        if (json === true) terminal.data(jsonDocument({ ok, url: base, detail }));
        else if (ok) terminal.data(`ok: ${detail}`);
        else terminal.note(`${terminal.style.bad("not ok:")} ${detail}`);
        return ok ? EXIT.ok : EXIT.failed;
      }),
    );
}

async function ask(
  base: string,
  path: "/health" | "/ready",
): Promise<{ readonly ok: boolean; readonly detail: string }> {
  try {
    const response = await fetch(`${base}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const body: unknown = await response.json();
    const field = (name: string): unknown =>
      typeof body === "object" && body !== null ? Reflect.get(body, name) : undefined;
    const reasons = field("reasons");
    // Something else that has the port may well answer 200 to anything.
    const isOurs = path === "/health" ? field("status") === "ok" : field("ready") !== undefined;
    if (!isOurs) return { ok: false, detail: `what answers at ${base} is not Quorate` };
    if (response.ok) return { ok: true, detail: path === "/health" ? "it serves" : "it is ready" };
    const why = Array.isArray(reasons) ? reasons.map(String).join("; ") : `HTTP ${response.status}`;
    return { ok: false, detail: why };
  } catch (error) {
    const late = error instanceof Error && error.name === "TimeoutError";
    return {
      ok: false,
      detail: late ? `${base} does not answer in time` : `nothing answers at ${base}`,
    };
  }
}

/** Where the process of this container listens: its environment wins over its file, as for the process itself. */
async function configuredUrl(env: Readonly<Record<string, string | undefined>>): Promise<string> {
  const file = env["QUORATE_CONFIG"];
  let fromFile: unknown;
  if (file !== undefined && file !== "")
    try {
      const tree: unknown = JSON.parse(await readFile(file, "utf8"));
      const api: unknown =
        typeof tree === "object" && tree !== null ? Reflect.get(tree, "api") : {};
      fromFile = typeof api === "object" && api !== null ? Reflect.get(api, "port") : undefined;
    } catch {
      // The process itself says what is wrong with it.
    }
  const port = env["QUORATE_API_PORT"] ?? fromFile;
  return typeof port === "number" || typeof port === "string"
    ? `http://127.0.0.1:${port}`
    : nodeUrlFrom(undefined, env);
}
