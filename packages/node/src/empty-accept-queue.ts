import type { Server } from "node:http";
import type { Clock } from "@quorate/ports";

const QUIET_MS = 5;
/** The first of them may lie between two looks for new connections, the second not. One to spare. */
const QUIET_TURNS = 3;
const WAIT_MS_MAX = 5_000;

/**
 * Lets in the connections that wait in the kernel's queue, so that their requests get an answer
 * instead of a reset when the port closes. Node takes in one connection a turn of its event loop,
 * and turns are long under load. Ends when some turns have brought none, at the latest after
 * 5 s, for clients may go on coming.
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
    for (let quiet = 0; quiet < QUIET_TURNS && clock.monotonicMs() < untilMs; ) {
      const before = takenIn;
      await clock.sleep(QUIET_MS);
      quiet = takenIn === before ? quiet + 1 : 0;
    }
  } finally {
    server.off("connection", count);
  }
}
