import { randomInt } from "node:crypto";
import { createServer } from "node:net";

import { DevkitError } from "./errors.ts";

// Below the range the kernel hands out to outgoing connections (32768-60999 on
// Linux, 49152-65535 on macOS). A port picked by listen(0) lies inside it, so
// any client connection may take it while a killed server is down, and the
// server could then not come back on its own address.
const PORT_MIN = 20_000;
const PORT_MAX_EXCLUSIVE = 32_000;
const ATTEMPTS_MAX = 200;

// Two servers started side by side must not be given the same port before
// either has bound it.
const givenOut = new Set<number>();

/**
 * Finds a TCP port on 127.0.0.1 that no process listens on and that this process was not given before.
 *
 * The port is free when this returns, not reserved: whoever binds it must be
 * ready to lose the race and ask again.
 */
export async function freePort({
  signal,
}: {
  signal?: AbortSignal | undefined;
} = {}): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    signal?.throwIfAborted();
    const port = randomInt(PORT_MIN, PORT_MAX_EXCLUSIVE);
    if (givenOut.has(port)) continue;
    givenOut.add(port);
    if (await canBind(port)) return port;
  }
  throw new DevkitError("PORT_TAKEN", `no free TCP port found in ${ATTEMPTS_MAX} attempts`, {
    retryable: true,
  });
}

function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}
