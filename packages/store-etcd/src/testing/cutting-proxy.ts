import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A TCP proxy before one etcd member that can lose replies and go dark. */
export interface CuttingProxy {
  readonly url: string;
  /** From now on nothing the server says gets through; soon after its first word the connections break. */
  loseNextReply(): void;
  /** Breaks all connections and refuses new ones. */
  goDark(): void;
  close(): Promise<void>;
}

// Long enough that what the request asked for has happened.
const SWALLOW_MS = 300;

export async function startCuttingProxy(target: string): Promise<CuttingProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let dark = false;
  let losing = false;
  const breakAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((client) => {
    if (dark) return void client.destroy();
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    let swallowed = false;
    upstream.on("data", (bytes) => {
      if (!losing) return void client.write(bytes);
      if (swallowed) return;
      swallowed = true;
      setTimeout(() => {
        losing = false;
        breakAll();
      }, SWALLOW_MS);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}`,
    loseNextReply: () => {
      losing = true;
    },
    goDark: () => {
      dark = true;
      breakAll();
    },
    close: async () => {
      breakAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
