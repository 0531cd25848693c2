import { createServer } from "node:net";
import { expect, test } from "vitest";

import { freePort } from "./free-port.ts";

test("no port is given out twice, one after another or side by side", async () => {
  const ports = await Promise.all(Array.from({ length: 100 }, () => freePort()));
  for (let index = 0; index < 400; index++) ports.push(await freePort());
  expect(new Set(ports).size).toBe(500);
});

test("a port given out can be listened on and lies below the ephemeral range", async () => {
  const port = await freePort();
  expect(port).toBeLessThan(32_768);
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  await new Promise((resolve) => server.close(resolve));
});

test("an aborted search does not answer", async () => {
  await expect(freePort({ signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
});
