import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  encodeFrame,
  encodeFrameTraces,
  hexToBytes,
  LIMITS,
  parseClusterId,
  signFrame,
  type TraceContext,
  traceShareOf,
  unwrap,
} from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import { waitUntil } from "@quorate/devkit";
import {
  type LocalCluster,
  type LocalServers,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { createNodeClient } from "@quorate/localcluster/client";
import { createGossip } from "@quorate/network-libp2p";
import { SPAN_NAMES } from "@quorate/ports";
import { systemClock } from "@quorate/telemetry";
import { memoryLogger, txIdOf, valueOf } from "@quorate/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ReceivedSpan, startOtlpReceiver } from "./otlp-receiver.ts";

const CLUSTER_ID = unwrap(parseClusterId("traced"));
const RATIO = 0.5;
/** The first ids that the ratio takes, or leaves out. */
function idsOf(prefix: string, count: number, traced: boolean): readonly string[] {
  const ids: string[] = [];
  for (let i = 1; ids.length < count; i++)
    if (traceShareOf(txIdOf(`${prefix}-${i}`)) < RATIO === traced) ids.push(`${prefix}-${i}`);
  return ids;
}

// Owners go by the names of transactions and nodes: they are the same in every run, and not all one node.
const TRACED = idsOf("traced", 4, true);
const UNTRACED = idsOf("untraced", 2, false);
const BY_HAND = idsOf("by-hand", 3, true);

let directory: string;
let servers: LocalServers;
let cluster: LocalCluster;
let receiver: Awaited<ReturnType<typeof startOtlpReceiver>>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-tracing-"));
  receiver = await startOtlpReceiver();
  servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
  cluster = await startCluster({
    servers,
    directory: join(directory, "cluster"),
    clusterId: CLUSTER_ID,
    trustees: 3,
    threshold: 2,
    protocol: { settleMs: 50 },
    confirmations: 1,
    absent: ["trustee-1", "trustee-2", "trustee-3"],
    withSubmitter: false,
  });
  const env = {
    QUORATE_TRACING_OTLP_URL: receiver.url,
    QUORATE_TRACING_SAMPLE_RATIO: String(RATIO),
    OTEL_BSP_SCHEDULE_DELAY: "100",
  };
  const running = [...cluster.nodes.slice(0, 2), cluster.submitter];
  await Promise.all(running.map((app) => app.start({ env })));
});

afterAll(async () => {
  await cluster?.stop();
  await servers?.stop();
  await receiver?.stop();
  await rm(directory, { recursive: true, force: true });
});

const clientOf = (index: number) => createNodeClient(cluster.nodes[index]?.url ?? "");

/** Two of three agree, the second one completing the threshold; waits until it is on the chain. */
async function decide(txId: string): Promise<void> {
  await clientOf(0).vote(txId, "7");
  await clientOf(1).vote(txId, "7");
  const end = await clientOf(0).transaction(txId, { until: ["CONFIRMED"], timeoutMs: 30_000 });
  expect(end?.status).toBe("CONFIRMED");
}

const spansWith = (txId: string): readonly ReceivedSpan[] =>
  receiver.spans.filter((span) => span.attributes["quorate.tx_id"] === txId);

/** The whole trace that a vote began. */
function traceOf(txId: string, voter: string): readonly ReceivedSpan[] {
  const root = spansWith(txId).find(
    (s) => s.parentSpanId === null && s.attributes["quorate.voter"] === voter,
  );
  return receiver.spans.filter((span) => span.traceId === root?.traceId);
}

function parentOf(trace: readonly ReceivedSpan[], span: ReceivedSpan): ReceivedSpan | undefined {
  return trace.find(({ spanId }) => spanId === span.parentSpanId);
}

const isWhole = (trace: readonly ReceivedSpan[]): boolean =>
  SPAN_NAMES.every((name) => trace.some((span) => span.name === name)) &&
  trace.some((span) => span.attributes["quorate.step"] === "confirmed");

const PARENTS: Readonly<Record<string, readonly string[]>> = {
  "vote.receive": ["", "vote.receive"],
  "vote.validate": ["vote.receive"],
  "vote.store": ["vote.validate"],
  "vote.count": ["vote.store"],
  "threshold.check": ["vote.store"],
  "byzantine.check": ["vote.store"],
  "vote.aggregate": ["vote.store"],
  "submission.lock": ["threshold.check"],
  "submission.submit": ["submission.lock"],
  "submission.persist": ["submission.lock"],
};

test("a vote's trace has the ten spans in one tree, from the node that was asked over the one that wrote to the submitter", async () => {
  await Promise.all(TRACED.map(decide));
  await waitUntil(() => TRACED.every((id) => isWhole(traceOf(id, "trustee-2"))), {
    timeoutMs: 20_000,
    pollMs: 50,
    what: "all spans to be exported",
  });
  const ways = new Set<string>();
  for (const txId of TRACED) {
    const trace = traceOf(txId, "trustee-2");
    expect(new Set(trace.map((s) => s.name))).toEqual(new Set(SPAN_NAMES));
    for (const span of trace) {
      const parent = parentOf(trace, span);
      // One tree: only the root has no parent, and every other parent is there.
      if (span.parentSpanId !== null) expect(parent).toBeDefined();
      expect(PARENTS[span.name]).toContain(parent?.name ?? "");
      expect(span.failed).toBe(false);
      expect(span.endNs).toBeGreaterThanOrEqual(span.startNs);
      expect(span.attributes["quorate.tx_id"]).toBe(txId);
      expect(span.service).toBe(
        span.name.startsWith("submission") ? "quorate-submitter" : "quorate-node",
      );
      if (span.service === "quorate-node")
        expect(span.attributes).toMatchObject({
          "quorate.node_id": span.instance,
          "quorate.voter": "trustee-2",
        });
      // What is inside of a round trip happened in it.
      if (parent?.name === "vote.store") {
        expect(span.startNs).toBeGreaterThanOrEqual(parent.startNs);
        expect(span.endNs).toBeLessThanOrEqual(parent.endNs);
      }
    }
    expect(trace.filter((s) => s.parentSpanId === null)).toMatchObject([
      {
        name: "vote.receive",
        instance: "trustee-2",
        attributes: { "quorate.source": "local", "quorate.outcome": "published" },
      },
    ]);
    // The other trustee heard of it by gossip, in the same trace.
    expect(trace.filter((s) => s.attributes["quorate.source"] === "gossip")).toMatchObject([
      { instance: "trustee-1", attributes: { "quorate.outcome": "accepted" } },
    ]);
    const committed = trace.filter((s) => s.attributes["quorate.outcome"] === "committed");
    expect(committed).toMatchObject([
      { name: "vote.store", attributes: { "quorate.status": "THRESHOLD_REACHED" } },
    ]);
    const of = (name: string) => trace.filter((s) => s.name === name);
    expect(of("threshold.check").map((s) => s.attributes["quorate.outcome"])).toContain("reached");
    expect(of("vote.count").map((s) => s.attributes["quorate.outcome"])).toContain("recorded");
    expect(of("submission.lock").at(-1)?.attributes["quorate.outcome"]).toBe("claimed");
    expect(of("submission.submit")[0]?.attributes).toMatchObject({
      "quorate.outcome": "accepted",
      "quorate.nonce": expect.stringMatching(/^\d+$/),
      "quorate.chain_tx": expect.stringMatching(/^0x[0-9a-f]{64}$/),
    });
    expect(new Set(of("submission.persist").map((s) => s.attributes["quorate.step"]))).toEqual(
      new Set(["queue", "nonce", "final", "confirmed"]),
    );
    ways.add(committed[0]?.instance ?? "");
    expect(new Set(trace.map((s) => s.instance)).size).toBe(3);
  }
  // Votes that their own node wrote, and votes that went on to another one.
  expect(ways).toEqual(new Set(["trustee-1", "trustee-2"]));
});

test("the vote that came before the threshold has a trace of its own, without a submission", () => {
  for (const txId of TRACED) {
    const trace = traceOf(txId, "trustee-1");
    expect(trace.some((s) => s.name === "vote.store")).toBe(true);
    expect(trace.some((s) => s.name.startsWith("submission"))).toBe(false);
    expect(trace[0]?.traceId).not.toBe(traceOf(txId, "trustee-2")[0]?.traceId);
  }
});

test("a vote counts whatever its frame says of traces, and its trace goes on only where that is readable", async () => {
  const [readable = "", junk = "", allZero = ""] = BY_HAND;
  const parent: TraceContext = { traceId: "a".repeat(32), spanId: "b".repeat(16) };
  const good = encodeFrameTraces(new Map([[0, parent]]));
  const extensions: readonly [string, Uint8Array][] = [
    [readable, good ?? new Uint8Array()],
    [junk, new Uint8Array(LIMITS.frameExtensionBytesMax).fill(0xee)],
    [allZero, new Uint8Array(26)],
  ];
  await publishAsTrustee3(extensions);
  for (const [txId] of extensions) {
    await waitUntil(
      async () =>
        (await clientOf(0).transaction(txId))?.votes.some((v) => v.nodeId === "trustee-3") ?? false,
      { timeoutMs: 10_000, pollMs: 50, what: `the vote on ${txId} to be recorded` },
    );
    await waitUntil(() => spansWith(txId).some((s) => s.name === "vote.store"), {
      timeoutMs: 10_000,
      pollMs: 50,
      what: "its spans",
    });
  }
  const receptions = (txId: string) => spansWith(txId).filter((s) => s.name === "vote.receive");
  for (const span of receptions(readable))
    expect(span).toMatchObject({ traceId: parent.traceId, parentSpanId: parent.spanId });
  for (const txId of [junk, allZero])
    for (const span of receptions(txId)) expect(span.parentSpanId).toBeNull();
});

test("what the ratio leaves out has no spans anywhere", async () => {
  await Promise.all(UNTRACED.map(decide));
  // Their last spans go out as they end.
  await cluster.stop();
  for (const txId of UNTRACED) expect(spansWith(txId)).toEqual([]);
  expect(new Set(receiver.spans.map((s) => s.name))).toEqual(new Set(SPAN_NAMES));
});

/** Trustee 3's process never runs; the test speaks with its key. */
async function publishAsTrustee3(frames: readonly [string, Uint8Array][]): Promise<void> {
  const home = join(directory, "cluster");
  const seedHex = await readFile(join(home, "trustee-3", "node.key"), "utf8");
  const first = JSON.parse(await readFile(join(home, "trustee-1", "node.json"), "utf8"));
  const self = cluster.set.trustees.find((t) => t.nodeId === "trustee-3");
  const peer = cluster.set.trustees.find((t) => t.nodeId === "trustee-1");
  if (self === undefined || peer === undefined) throw new Error("no trustee 3");
  const seed = hexToBytes(seedHex.trim());
  const signer = createVoteSigner(seed);
  const gossip = createGossip(
    {
      clusterId: CLUSTER_ID,
      privateKeySeed: seed,
      listen: ["/ip4/127.0.0.1/tcp/0"],
      bootstrap: [`${first.network.listen[0]}/p2p/${peer.peerId}`],
    },
    { clock: systemClock(), logger: memoryLogger() },
  );
  gossip.setValidator(() => "ACCEPT");
  await gossip.start();
  try {
    await gossip.waitForPeers(2, { signal: AbortSignal.timeout(20_000) });
    for (const [txId, extension] of frames) {
      const vote = {
        clusterId: CLUSTER_ID,
        epoch: cluster.set.epoch,
        txId: txIdOf(txId),
        value: valueOf(9),
        nodeId: self.nodeId,
        issuedAtMs: Date.now(),
      };
      const frame = signFrame([vote], (message) => signer.sign(message));
      await gossip.publish(encodeFrame({ ...frame, extension }));
    }
    await waitUntil(
      async () => {
        const views = await Promise.all(frames.map(([txId]) => seen(txId)));
        return views.every((known) => known);
      },
      { timeoutMs: 10_000, pollMs: 50, what: "the frames to arrive" },
    );
  } finally {
    await gossip.stop();
  }
}

async function seen(txId: string): Promise<boolean> {
  return (await clientOf(0).transaction(txId)) !== null;
}
