import {
  decodeFrameTraces,
  encodeFrameTraces,
  LIMITS,
  signFrame,
  type TraceContext,
  type VerifiedVote,
} from "@quorate/core";
import { nodeAt, vote } from "@quorate/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { TestTracer } from "./test-tracer.ts";
import { tx, World } from "./test-world.ts";
import { VoteSpans } from "./vote-spans.ts";

let world: World;

afterEach(() => world.close());

const CONTEXT: TraceContext = { traceId: "c".repeat(32), spanId: "d".repeat(16) };

interface Node {
  readonly tracer: TestTracer;
  readonly spans: VoteSpans;
  readonly pipeline: World["nodes"][number]["pipeline"];
  readonly node: World["nodes"][number];
}

async function open(
  tracer: TestTracer = new TestTracer(),
  options: Parameters<typeof World.open>[0] = {},
): Promise<Node> {
  world = await World.open({ running: 1, ...options, tracer });
  const [node] = world.nodes;
  if (node?.spans === undefined) throw new Error("no node");
  return { tracer, spans: node.spans, pipeline: node.pipeline, node };
}

/** A frame of one vote, as it comes by gossip. */
function hear(
  { spans, pipeline }: Node,
  one: VerifiedVote,
  extension?: Uint8Array,
  author = one.peerId,
): void {
  const heardAtMs = spans.now();
  pipeline.offer(one);
  spans.heard([one], { author, heardAtMs, checkingAtMs: heardAtMs, extension, accepted: true });
}

const carried = (context: TraceContext = CONTEXT): Uint8Array | undefined =>
  encodeFrameTraces(new Map([[0, context]]));

describe("a traced vote", () => {
  test("has its reception, its check, its commit and the steps of the decision as one tree", async () => {
    const node = await open();
    hear(node, vote(world.cluster, 0, "tx", 7), carried());
    await world.clock.advance(200);
    expect(node.tracer.tree()).toEqual([
      "elsewhere > vote.receive accepted",
      "vote.receive > vote.validate valid",
      "vote.validate > vote.store committed",
      "vote.store > vote.count recorded",
      "vote.store > threshold.check open",
      "vote.store > byzantine.check none",
      "vote.store > vote.aggregate moved",
    ]);
    expect(node.tracer.spans[0]).toMatchObject({ parent: CONTEXT });
    for (const span of node.tracer.spans) {
      expect(span.context.traceId).toBe(CONTEXT.traceId);
      expect(span.endMs).not.toBeNull();
      expect(span.attributes).toMatchObject({
        "quorate.tx_id": "tx",
        "quorate.voter": nodeAt(world.cluster, 0).nodeId,
        "quorate.node_id": nodeAt(world.cluster, 0).nodeId,
      });
    }
    expect(node.tracer.named("vote.store")[0]?.attributes).toMatchObject({
      "quorate.status": "COLLECTING",
      "quorate.batch": 1,
      "quorate.revision": expect.stringMatching(/^\d+$/),
    });
  });

  test("that completes the threshold leaves in the record where the submitter goes on", async () => {
    const node = await open();
    for (let i = 0; i < 3; i++) hear(node, vote(world.cluster, i, "tx", 7));
    await world.clock.advance(200);
    expect((await world.snapshot("tx")).record).not.toHaveProperty("traceContext");
    hear(node, vote(world.cluster, 3, "tx", 7));
    await world.clock.advance(200);
    const { record } = await world.snapshot("tx");
    const check = node.tracer.named("threshold.check").at(-1);
    expect(check?.attributes["quorate.outcome"]).toBe("reached");
    expect(record?.traceContext).toEqual(check?.context);
    // It stays: what comes later belongs to other traces.
    hear(node, vote(world.cluster, 4, "tx", 7));
    await world.clock.advance(200);
    expect((await world.snapshot("tx")).record).toMatchObject({
      unanimous: true,
      traceContext: check?.context,
    });
  });

  test("shows the dissent that its commit found", async () => {
    const node = await open();
    for (let i = 0; i < 4; i++) node.pipeline.offer(vote(world.cluster, i, "tx", 7));
    await world.clock.advance(200);
    hear(node, vote(world.cluster, 4, "tx", 8));
    await world.clock.advance(200);
    expect(node.tracer.named("byzantine.check")[0]?.attributes).toMatchObject({
      "quorate.outcome": "found",
      "quorate.violations": 1,
    });
    expect(node.tracer.named("vote.aggregate")[0]?.attributes).toMatchObject({
      "quorate.status": "ABORTED_BYZANTINE",
      "quorate.outcome": "moved",
    });
  });

  test("has one commit more for each race that is lost, and a failed one for a lost reply", async () => {
    const node = await open();
    node.node.faults.push({ operation: "commit", fault: { loseReply: true } });
    hear(node, vote(world.cluster, 0, "tx", 7), carried());
    await world.clock.advance(1_000);
    const stores = node.tracer.named("vote.store");
    expect(stores.map((s) => [s.attributes["quorate.outcome"], s.failed])).toEqual([
      ["unknown", true],
      ["nothing_to_write", false],
    ]);
    // The commit had been applied: the next decision finds the vote recorded.
    expect(node.tracer.named("vote.count").at(-1)?.attributes["quorate.outcome"]).toBe("duplicate");
  });

  test("shares a commit with votes that are not traced, which have no spans", async () => {
    const node = await open(new TestTracer(true, (id) => id === "tx-a"));
    for (const id of ["tx-a", "tx-b", "tx-c"]) hear(node, vote(world.cluster, 0, id, 7), carried());
    await world.clock.advance(200);
    expect(new Set(node.tracer.spans.map((s) => s.attributes["quorate.tx_id"]))).toEqual(
      new Set(["tx-a"]),
    );
    expect(node.tracer.named("vote.store")[0]?.attributes["quorate.batch"]).toBe(3);
    expect((await world.snapshot("tx-b")).votes.size).toBe(1);
  });
});

describe("what comes from the network", () => {
  test("can't make a transaction traced that this node leaves out", async () => {
    const node = await open(new TestTracer(true, () => false));
    for (let i = 0; i < 4; i++) hear(node, vote(world.cluster, i, "tx", 7), carried());
    await world.clock.advance(200);
    expect(node.tracer.spans).toEqual([]);
    expect((await world.snapshot("tx")).record).not.toHaveProperty("traceContext");
  });

  test("is not believed of another's vote, nor when it is not readable: the trace begins here", async () => {
    const node = await open();
    const other = nodeAt(world.cluster, 1).peerId;
    hear(node, vote(world.cluster, 0, "tx-a", 7), carried(), other);
    hear(node, vote(world.cluster, 0, "tx-b", 7), Uint8Array.of(9, 9, 9));
    hear(node, vote(world.cluster, 0, "tx-c", 7), encodeFrameTraces(new Map([[1, CONTEXT]])));
    expect(node.tracer.named("vote.receive").map((s) => s.parent)).toEqual([null, null, null]);
    await world.clock.advance(200);
    for (const id of ["tx-a", "tx-b", "tx-c"])
      expect((await world.snapshot(id)).votes.size).toBe(1);
  });

  test("makes no more spans than an author's budget, and takes none of another's", async () => {
    const node = await open();
    const { burst, perSecond } = LIMITS.tracedVotes;
    const count = (): number => node.tracer.named("vote.receive").length;
    for (let i = 0; i < 2 * burst; i++) hear(node, vote(world.cluster, 0, `tx-${i}`, 7), carried());
    expect(count()).toBe(burst);
    hear(node, vote(world.cluster, 1, "other", 7), carried());
    expect(count()).toBe(burst + 1);
    await world.clock.advance(1_000);
    for (let i = 0; i < 2 * burst; i++)
      hear(node, vote(world.cluster, 0, `later-${i}`, 7), carried());
    expect(count()).toBe(burst + 1 + perSecond);
  });
});

describe("an own vote", () => {
  const frameOf = (votes: readonly VerifiedVote[]) =>
    signFrame(
      votes.map((v) => v.vote),
      () => new Uint8Array(64),
    );

  test("begins a trace when it is asked for, and its frame carries where it goes on", async () => {
    const { tracer, spans } = await open(new TestTracer(true, (id) => id !== "tx-b"));
    for (const id of ["tx-a", "tx-b", "tx-c"]) spans.cast(tx(id));
    const votes = ["tx-a", "tx-b", "tx-c"].map((id) => vote(world.cluster, 0, id, 7));
    await world.clock.advance(10);
    const frame = spans.published(frameOf(votes), votes, spans.now());
    const roots = tracer.named("vote.receive");
    expect(decodeFrameTraces(frame.extension, 3)).toEqual(
      new Map([
        [0, roots[0]?.context],
        [2, roots[1]?.context],
      ]),
    );
    expect(roots.map(({ parent, startMs, endMs }) => [parent, (endMs ?? 0) - startMs])).toEqual([
      [null, 10],
      [null, 10],
    ]);
    expect(spans.turn([{ vote: votes[0] as VerifiedVote, sinceMs: 0 }], 0, 1)).not.toBeNull();
    expect(spans.turn([{ vote: votes[1] as VerifiedVote, sinceMs: 0 }], 0, 1)).toBeNull();
  });

  test("goes without a context where its frame is full: votes come first", async () => {
    const { spans } = await open();
    spans.cast(tx("tx"));
    const votes = [vote(world.cluster, 0, "tx", 7)];
    const leaves = [new Uint8Array(LIMITS.voteFrameBytesMax - 69 - 10)];
    const full = { signature: new Uint8Array(64), leaves };
    expect(spans.published(full, votes, 0)).toBe(full);
  });
});

test("where tracing is off nothing is made, kept or read from the clock", async () => {
  const node = await open(new TestTracer(false));
  const frame = signFrame([vote(world.cluster, 0, "tx", 7).vote], () => new Uint8Array(64));
  const before = node.spans.now();
  node.spans.cast(tx("tx"));
  hear(node, vote(world.cluster, 0, "tx", 7), carried());
  expect(node.spans.published(frame, [vote(world.cluster, 0, "tx", 7)], 0)).toBe(frame);
  await world.clock.advance(200);
  expect([before, node.spans.now()]).toEqual([0, 0]);
  expect(node.tracer.spans).toEqual([]);
  expect((await world.snapshot("tx")).votes.size).toBe(1);
});
