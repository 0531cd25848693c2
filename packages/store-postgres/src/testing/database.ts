import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Logger } from "@quorate/ports";
import type { Pool } from "pg";

import { migrate } from "../migrate.ts";
import { createPool, type PoolOptions } from "../pool.ts";

export const silentLogger: Logger = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => silentLogger,
};

/** What of a started server the tests need. */
interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

/** A real server for one test file. */
export interface TestServer<S extends Server> {
  readonly postgres: S;
  readonly url: string;
  /** A migrated schema of its own, and a pool that works in it. */
  world(): Promise<{ readonly schema: string; readonly pool: Pool }>;
  pool(schema: string, options?: Partial<PoolOptions>): Pool;
  stop(): Promise<void>;
}

/** @param start the devkit's `startPostgres`: only test files may import that package. */
export async function startTestServer<S extends Server>(
  start: (parameters: { readonly dataDir: string }) => Promise<S>,
): Promise<TestServer<S>> {
  const dataDir = await mkdtemp(join(tmpdir(), "quorate-store-postgres-"));
  const postgres = await start({ dataDir });
  const { url } = postgres;
  let schemas = 0;
  const pool = (schema: string, options: Partial<PoolOptions> = {}): Pool =>
    createPool({ url, schema, logger: silentLogger, ...options });
  return {
    postgres,
    url,
    pool,
    world: async () => {
      schemas += 1;
      const schema = `quorate_world_${schemas}`;
      await migrate({ url, schema, logger: silentLogger });
      return { schema, pool: pool(schema) };
    },
    stop: async () => {
      await postgres.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
