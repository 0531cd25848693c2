import type { MetricsFactory } from "@quorate/ports";
import type { Pool } from "pg";

/** What the pool says of itself at each scrape. */
export function postgresMetrics(
  factory: MetricsFactory,
  pool: Pick<Pool, "totalCount" | "idleCount" | "waitingCount">,
): void {
  factory.gauge({
    name: "postgres_pool_connections",
    help: "Open connections of this process to PostgreSQL.",
    collect: () => pool.totalCount,
  });
  factory.gauge({
    name: "postgres_pool_idle_connections",
    help: "Of those, connections that nobody uses at present.",
    collect: () => pool.idleCount,
  });
  factory.gauge({
    name: "postgres_pool_waiting",
    help: "Callers in this process that wait for a connection.",
    collect: () => pool.waitingCount,
  });
}
