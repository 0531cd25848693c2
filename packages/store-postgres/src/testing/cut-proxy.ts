import { connect, createServer, type Socket } from "node:net";

/** The whole message, with its length before it; BEGIN speaks of READ COMMITTED too. */
const COMMIT_MESSAGE = "Q\0\0\0\x0bCOMMIT\0";

/** A TCP proxy in front of PostgreSQL that can lose a commit on its way there or back. */
export interface CutProxy {
  readonly url: string;
  /** The next COMMIT: "request" never reaches the server, "reply" never comes back. The connection breaks. */
  cutNextCommit(lose: "request" | "reply"): void;
  close(): Promise<void>;
}

/** @param url of the server behind; the proxy's own is the same with another port. */
export async function startCutProxy(url: string): Promise<CutProxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let armed: "request" | "reply" | null = null;

  const proxy = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    let deaf = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk) => {
      if (armed !== null && chunk.includes(COMMIT_MESSAGE)) {
        const lost = armed;
        armed = null;
        if (lost === "request") {
          client.destroy();
          return;
        }
        deaf = true;
      }
      upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      // The server has answered, so it has committed.
      if (deaf) client.destroy();
      else client.write(chunk);
    });
  });

  const { promise, resolve } = Promise.withResolvers<void>();
  proxy.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  const own = new URL(url);
  own.port = String(address.port);
  return {
    url: own.href,
    cutNextCommit: (lose) => {
      armed = lose;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      const closed = Promise.withResolvers<void>();
      proxy.close(() => closed.resolve());
      await closed.promise;
    },
  };
}
