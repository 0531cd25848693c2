// A projector as a process of its own, which can be told to die at a fault point. Run by projector-crash.test.ts.
import { parseClusterId, unwrap } from "@quorate/core";
import { createEd25519 } from "@quorate/crypto-sodium";
import { Projector, submitterMetrics } from "@quorate/engine";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { createAuditLog, createPool } from "@quorate/store-postgres";
import { createLogger, createMetrics, systemClock } from "@quorate/telemetry";

const [endpoint = "", clusterName = "", postgresUrl = "", schema = "", until = "0", dieAt = ""] =
  process.argv.slice(2);

const clock = systemClock();
const logger = createLogger({ level: "error", pretty: false, base: {} });
const metrics = createMetrics({});
const clusterId = unwrap(parseClusterId(clusterName));
const store = createEtcdTallyStore(
  { hosts: [endpoint], clusterId, requestTimeoutMs: 10_000, dialTimeoutMs: 10_000 },
  { clock, logger },
);
const pool = createPool({ url: postgresUrl, schema, logger });
const ed25519 = createEd25519();
const projector = new Projector({
  store,
  audit: createAuditLog(pool),
  clock,
  logger,
  metrics: submitterMetrics(metrics),
  verify: (key, message, signature) => ed25519.verify(key, message, signature),
  fault: (name) => {
    if (name === dieAt) process.kill(process.pid, "SIGKILL");
  },
});

await store.start();
const stop = new AbortController();
const running = projector.run({ signal: stop.signal }).catch((error: unknown) => {
  if (!stop.signal.aborted) throw error;
});
const deadlineMs = clock.monotonicMs() + 20_000;
while ((projector.position ?? 0n) < BigInt(until)) {
  if (clock.monotonicMs() > deadlineMs) throw new Error("the projector does not get there");
  await Promise.race([clock.sleep(10), running]);
}
stop.abort(new Error("it is there"));
await running;
await store.stop();
await pool.end();
