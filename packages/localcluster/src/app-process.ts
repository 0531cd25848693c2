import { type LoggedProcess, spawnLogged, waitUntil } from "@quorate/devkit";
import type { AbortOptions } from "@quorate/ports";
import { type AppName, appCommand, cleanEnvironment } from "./app-command.ts";
import { LocalClusterError } from "./errors.ts";

const READY_POLL_MS = 50;
const PROBE_TIMEOUT_MS = 2_000;

/** Starts an app in a process of its own, with its output in a file. It is not ready yet. */
export function startApp(parameters: {
  readonly app: AppName;
  readonly name: string;
  readonly configFile: string;
  readonly logFile: string;
  /** Added to its environment; fault tests name a fault point with it. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}): Promise<LoggedProcess> {
  return spawnLogged({
    name: parameters.name,
    command: process.execPath,
    args: [...appCommand(parameters.app), "--config", parameters.configFile],
    logFile: parameters.logFile,
    env: { ...cleanEnvironment(), ...parameters.env },
  });
}

/**
 * Waits until an app's `/ready` says yes.
 * @throws LocalClusterError APP_ENDED with the last lines of its log, APP_NOT_READY with its reasons.
 */
export async function awaitReady(
  running: LoggedProcess,
  app: { readonly name: string; readonly url: string; readonly timeoutMs: number },
  { signal }: AbortOptions = {},
): Promise<void> {
  let reasons = "it does not answer";
  try {
    await waitUntil(
      async (options) => {
        const exit = running.exit();
        if (exit !== null) {
          const how = exit.code === null ? `by ${exit.signal}` : `with exit code ${exit.code}`;
          throw new LocalClusterError(
            "APP_ENDED",
            `${app.name} ended ${how} while it started:\n${await running.logTail()}`,
          );
        }
        const answer = await readReadiness(app.url, options);
        if (!answer.ready) reasons = answer.reasons;
        return answer.ready;
      },
      {
        timeoutMs: app.timeoutMs,
        pollMs: READY_POLL_MS,
        what: `${app.name} to become ready`,
        signal,
      },
    );
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof LocalClusterError) throw error;
    throw new LocalClusterError(
      "APP_NOT_READY",
      `${app.name} (${app.url}) is not ready after ${app.timeoutMs / 1_000} s: ${reasons}`,
      { cause: error, retryable: true },
    );
  }
}

/** Asks `/ready` once. Never throws: whoever does not answer is not ready. */
export async function readReadiness(
  url: string,
  { signal }: AbortOptions = {},
): Promise<{ readonly ready: boolean; readonly reasons: string }> {
  const timeout = AbortSignal.timeout(PROBE_TIMEOUT_MS);
  try {
    const response = await fetch(`${url}/ready`, {
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    const body: unknown = await response.json();
    if (response.ok) return { ready: true, reasons: "" };
    return { ready: false, reasons: reasonsOf(body) };
  } catch {
    return { ready: false, reasons: `nothing answers at ${url}` };
  }
}

function reasonsOf(body: unknown): string {
  if (typeof body !== "object" || body === null || !("reasons" in body)) return "it says no reason";
  return Array.isArray(body.reasons) ? body.reasons.map(String).join("; ") : String(body.reasons);
}
