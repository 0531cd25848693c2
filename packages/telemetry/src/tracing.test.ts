import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { logs } from "@opentelemetry/api";
import { parseTxId, type TxId, unwrap } from "@quorate/core";
import type { Logger } from "@quorate/ports";
import { expect, test, vi } from "vitest";
import { createTracing, type TracingOptions } from "./tracing.ts";

const NODE: TracingOptions = {
  serviceName: "node",
  instanceId: "trustee-1",
  clusterId: "test",
  version: "9.8.7",
  sampleRatio: 1,
};
const tx = (id: string): TxId => unwrap(parseTxId(id));

/** A span that is of no interest. */
function begin({ tracer }: ReturnType<typeof createTracing>, atMs = performance.now()) {
  const attributes = { "quorate.tx_id": tx("a") };
  return tracer.start("vote.receive", { parent: null, startMs: atMs, attributes });
}

async function textOf(message: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of message) text += String(chunk);
  return text;
}

/** A collector that keeps what it is sent; one that does not answer holds its clients. */
async function collector(options: { readonly answers: boolean }) {
  const received: { readonly path: string | undefined; readonly body: string }[] = [];
  const arrived = Promise.withResolvers<void>();
  const server = createServer(async (incoming, outgoing) => {
    received.push({ path: incoming.url, body: await textOf(incoming) });
    arrived.resolve();
    if (options.answers) outgoing.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    received,
    arrived: arrived.promise,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** A logger that tells its first warning. */
function warnings() {
  const first = Promise.withResolvers<string>();
  const logger: Logger = {
    error: () => {},
    warn: (message) => first.resolve(message),
    info: () => {},
    debug: () => {},
    child: () => logger,
  };
  return { logger, warned: first.promise };
}

test("without a URL, or with a ratio of 0, nothing is traced or started", async () => {
  for (const options of [NODE, { ...NODE, otlpUrl: "http://127.0.0.1:9", sampleRatio: 0 }]) {
    const tracing = createTracing(options);
    await tracing.start();
    expect(tracing.tracer.enabled).toBe(false);
    expect(tracing.tracer.samples(tx("a"))).toBe(false);
    begin(tracing).end(1);
    await tracing.shutdown();
  }
});

test("the ratio chooses transactions by their ids, the same in every process", () => {
  const chosen = (sampleRatio: number): readonly string[] => {
    const { tracer } = createTracing({ ...NODE, otlpUrl: "http://127.0.0.1:9", sampleRatio });
    return Array.from({ length: 1_000 }, (_, i) => `tx-${i}`).filter((id) =>
      tracer.samples(tx(id)),
    );
  };
  const tenth = chosen(0.1);
  expect(tenth.length).toBeGreaterThan(60);
  expect(tenth.length).toBeLessThan(140);
  expect(chosen(0.1)).toEqual(tenth);
  expect(chosen(0.5)).toEqual(expect.arrayContaining([...tenth]));
  expect(chosen(1)).toHaveLength(1_000);
});

test("without a URL the SDK is not even loaded", async () => {
  const script = `
    import { registerHooks } from "node:module";
    let loaded = 0;
    registerHooks({
      resolve(specifier, context, next) {
        if (specifier === "@opentelemetry/sdk-node") loaded += 1;
        return next(specifier, context);
      },
    });
    const { createTracing } = await import(${JSON.stringify(new URL("./tracing.ts", import.meta.url).href)});
    const common = { serviceName: "n", instanceId: "i", clusterId: "c", version: "1", sampleRatio: 1 };
    const off = createTracing(common);
    await off.start();
    await off.shutdown();
    const loadedOff = loaded;
    const on = createTracing({ ...common, otlpUrl: "http://127.0.0.1:9" });
    await on.start();
    await on.shutdown();
    process.stdout.write(JSON.stringify({ off: loadedOff, on: loaded }));
  `;
  const args = ["--conditions=@quorate/source", "--input-type=module", "--eval", script];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  expect(JSON.parse(stdout)).toEqual({ off: 0, on: 1 });
});

test("spans reach the collector with who made them, where they belong and when they were; nothing else does", async () => {
  const sink = await collector({ answers: true });
  // Where the SDK would send logs by itself, and a sampler that would tear holes into traces.
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url);
  vi.stubEnv("OTEL_TRACES_SAMPLER", "always_off");
  let nowMs = 1_700_000_000_000.25;
  const clock = { nowMs: () => nowMs, monotonicMs: () => 500.25 };
  const tracing = createTracing({ ...NODE, otlpUrl: sink.url, clock });
  const { tracer } = tracing;
  begin(tracing).end(500);
  await Promise.all([tracing.start(), tracing.start()]);
  const outer = tracer.start("vote.receive", {
    parent: { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" },
    startMs: 400.125,
    attributes: { "quorate.tx_id": tx("a"), "quorate.source": "gossip" },
  });
  const inner = tracer.start("vote.store", {
    parent: outer.context,
    startMs: 401,
    attributes: { "quorate.batch": 3 },
  });
  // The wall clock is set back meanwhile: a span's length does not change.
  nowMs -= 60_000;
  inner.end(403.5, { "quorate.outcome": "unknown" }, true);
  outer.end(400.625);
  logs.getLogger("any").emit({ body: "a log record" });
  await tracing.shutdown();
  await tracing.shutdown();
  expect(sink.received.map(({ path }) => path)).toEqual(["/v1/traces"]);
  const [resource] = JSON.parse(sink.received[0]?.body ?? "").resourceSpans;
  expect(resource.resource.attributes).toEqual(
    expect.arrayContaining([
      { key: "service.name", value: { stringValue: "node" } },
      { key: "service.version", value: { stringValue: "9.8.7" } },
      { key: "service.instance.id", value: { stringValue: "trustee-1" } },
      { key: "quorate.cluster_id", value: { stringValue: "test" } },
    ]),
  );
  expect(resource.scopeSpans[0].spans).toMatchObject([
    {
      traceId: "0af7651916cd43dd8448eb211c80319c",
      spanId: inner.context.spanId,
      parentSpanId: outer.context.spanId,
      name: "vote.store",
      kind: 3,
      startTimeUnixNano: "1699999999901000000",
      endTimeUnixNano: "1699999999903500000",
      status: { code: 2 },
      attributes: [
        { key: "quorate.batch", value: { intValue: 3 } },
        { key: "quorate.outcome", value: { stringValue: "unknown" } },
      ],
    },
    {
      traceId: "0af7651916cd43dd8448eb211c80319c",
      parentSpanId: "b7ad6b7169203331",
      name: "vote.receive",
      kind: 5,
      startTimeUnixNano: "1699999999900125000",
      endTimeUnixNano: "1699999999900625000",
      status: { code: 0 },
    },
  ]);
  vi.unstubAllEnvs();
  await sink.close();
});

test("a collector that does not answer holds the shutdown only until the signal aborts", async () => {
  const sink = await collector({ answers: false });
  const { logger, warned } = warnings();
  const tracing = createTracing({
    ...NODE,
    logger,
    otlpUrl: `${sink.url}/custom/path`,
  });
  await tracing.start();
  begin(tracing).end(performance.now());
  const reason = new Error("no more time");
  const controller = new AbortController();
  const ended = tracing.shutdown({ signal: controller.signal });
  await sink.arrived;
  controller.abort(reason);
  await expect(ended).rejects.toBe(reason);
  expect(sink.received[0]?.path).toBe("/custom/path");
  await sink.close();
  // The export then fails for good, which loses the span but is no failure of the shutdown.
  await tracing.shutdown();
  expect(await warned).toContain("spans");
});

test("a URL that is not http is refused at once", () => {
  for (const otlpUrl of ["collector:4318", "grpc://collector:4317", ""]) {
    expect(() => createTracing({ ...NODE, otlpUrl })).toThrow(
      expect.objectContaining({ code: "OTLP_URL" }),
    );
  }
});
