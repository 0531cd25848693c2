import { DevkitError } from "./errors.ts";
import { classifyServerFailure } from "./server-failure.ts";
import type { LoggedProcess } from "./spawn-logged.ts";
import { waitUntil } from "./wait-until.ts";

/**
 * Waits until a started server answers, watching that it does not die meanwhile.
 *
 * @throws DevkitError `SERVER_EXITED` or `PORT_TAKEN` with the last lines of its log when it ends,
 * `WAIT_TIMEOUT` with the same lines when it never answers. The caller still owns the process.
 */
export async function waitReady(
  server: LoggedProcess,
  isReady: (options: { signal: AbortSignal }) => Promise<boolean>,
  {
    name,
    timeoutMs,
    signal,
  }: { name: string; timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<void> {
  try {
    await waitUntil(
      // The exit is looked at last: a server that died while another process
      // answered on its port must not count as ready.
      async (options) => {
        const ready = await isReady(options);
        return ready || server.exit() !== null;
      },
      { timeoutMs, what: `${name} to answer`, signal },
    );
  } catch (error) {
    if (!(error instanceof DevkitError) || error.code !== "WAIT_TIMEOUT") throw error;
    throw new DevkitError(
      "WAIT_TIMEOUT",
      `${error.message}; its log ends:\n${await server.logTail()}`,
      {
        cause: error,
        retryable: true,
      },
    );
  }
  const exit = server.exit();
  if (exit === null) return;
  const tail = await server.logTail();
  const failure = classifyServerFailure(tail);
  throw new DevkitError(
    failure === "port-taken" ? "PORT_TAKEN" : "SERVER_EXITED",
    `${name} ended during start-up (${exit.signal ?? `exit code ${exit.code}`}); its log ends:\n${tail}`,
    { retryable: failure !== "other" },
  );
}
