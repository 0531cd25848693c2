import type { Lifecycle, Logger } from "@quorate/ports";

/**
 * Runs an app until SIGTERM or SIGINT, then stops it within `shutdownMs`. A second
 * signal ends it at once. Exit codes: 0 after a clean stop, 1 when starting failed
 * or something fatal happened, 1 as well when stopping took too long.
 */
export async function runApp(
  name: string,
  app: Lifecycle & { readonly fatal: Promise<unknown>; readonly flush: () => Promise<void> },
  logger: Logger,
  shutdownMs: number,
): Promise<number> {
  const starting = new AbortController();
  const signalled = new Promise<{ readonly kind: "signal"; readonly signal: string }>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const)
      process.once(signal, () => {
        starting.abort(new Error(`${signal} while starting`));
        process.once(signal, () => process.exit(1));
        resolve({ kind: "signal", signal });
      });
  });
  try {
    await app.start({ signal: starting.signal });
  } catch (error) {
    // One line for a person; the cause is in the log.
    logger.error("could not start", { error });
    process.stderr.write(`${name}: could not start: ${messageOf(error)}\n`);
    await app.stop({ signal: AbortSignal.timeout(5_000) }).catch(() => {});
    await app.flush();
    return 1;
  }
  const end = await Promise.race([
    signalled,
    app.fatal.then((error) => ({ kind: "fatal", error }) as const),
  ]);
  if (end.kind === "signal") logger.info("stopping", { signal: end.signal });
  else logger.error("stopping after a fatal error", { error: end.error });
  let clean = true;
  try {
    await app.stop({ signal: AbortSignal.timeout(shutdownMs) });
    logger.info("stopped");
  } catch (error) {
    clean = false;
    logger.error("stopping was cut short", { error });
  }
  await app.flush();
  return end.kind === "signal" && clean ? 0 : 1;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
