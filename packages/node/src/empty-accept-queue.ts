import type { Server } from "node:http";
import type { Clock } from "@quorate/ports";

const QUIET_MS = 5;
const WAIT_MS_MAX = 2_000;

/**
 * Lets in the connections that wait in the kernel's queue, so that their requests get an answer
 * instead of a reset when the port closes. Node takes in one connection a turn of its event loop,
 * and turns are long under load. Ends when a turn has brought none, at the latest after 2 s, for
 * clients may go on coming.
 */
export async function emptyAcceptQueue(
  server: Server,
  { clock }: { readonly clock: Clock },
): Promise<void> {
  let takenIn = 0;
  const count = (): void => {
    takenIn++;
  };
  server.on("connection", count);
  const untilMs = clock.monotonicMs() + WAIT_MS_MAX;
  try {
    for (let before = -1; takenIn !== before && clock.monotonicMs() < untilMs; ) {
      before = takenIn;
      await clock.sleep(QUIET_MS);
    }
  } finally {
    server.off("connection", count);
  }
}
