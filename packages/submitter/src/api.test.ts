import {
  type EvmAddress,
  parseEpoch,
  parseEvmAddress,
  parsePeerId,
  SPOTLESS,
  scoreAt,
  unwrap,
} from "@quorate/core";
import { type SenderLease, StoreError, type SubmissionStore } from "@quorate/ports";
import { createMetrics, createOpsServer, type OpsServer } from "@quorate/telemetry";
import {
  createMemorySubmissionStore,
  MemoryChain,
  type MemorySubmissionStore,
  memoryLogger,
  SimClock,
  testCluster,
  txIdOf,
  valueOf,
} from "@quorate/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import { addSubmitterRoutes } from "./api.ts";

const { set } = testCluster({ trustees: 3, threshold: 2 });
const ADDRESS: EvmAddress = unwrap(parseEvmAddress(`0x${"a1".repeat(20)}`));
const FEES = { maxFeePerGasWei: 3_000_000_000n, maxPriorityFeePerGasWei: 1_000_000_000n };
const WHO = { operator: "ada@example.org", reason: "the contract was wrong" };

const REPUTATION = {
  peerId: set.trustees[0]?.peerId ?? unwrap(parsePeerId("")),
  nodeId: null,
  state: { ...SPOTLESS, penalty: 0.25 },
  totalVotes: 12,
  violationsCount: 1,
  lastSeenMs: 0,
};

let clock: SimClock;
let chain: MemoryChain;
let store: MemorySubmissionStore;
let lease: SenderLease;
let server: OpsServer;
let isChainDown: boolean;
let broken: Error | null;

beforeEach(async () => {
  clock = new SimClock();
  isChainDown = false;
  broken = null;
  chain = new MemoryChain(
    { clusterId: set.clusterId, fault: () => (isChainDown ? { fail: true } : null) },
    { clock },
  );
  store = createMemorySubmissionStore({
    nowMs: () => clock.nowMs(),
    faults: {
      before: () => {
        if (broken !== null) throw broken;
      },
    },
  });
  server = createOpsServer({
    host: "127.0.0.1",
    port: 0,
    metrics: createMetrics({}),
    logger: memoryLogger(),
    health: () => ({ status: "ok", uptimeSeconds: 1, version: "0" }),
    ready: () => ({ ready: true, checks: [] }),
    bodyLimitBytes: 8_192,
  });
  addSubmitterRoutes(server.app, {
    clusterId: set.clusterId,
    version: "9.9.9",
    schema: "quorate",
    address: ADDRESS,
    finality: { kind: "confirmations", blocks: 1 },
    submissions: store,
    chain,
    service: { leading: true, projectedRevision: 7n, checks: () => [] },
    history: { reputations: async () => [REPUTATION] },
    clock,
  });
});

const sender = () => ({ chainId: chain.chainId, address: ADDRESS });

async function lead(): Promise<void> {
  lease = await store.becomeLeader(sender(), 0n);
  await store.markHistoryChecked(lease);
}

async function enqueue(...names: readonly string[]): Promise<void> {
  await store.enqueue(
    names.map((name) => ({
      txId: txIdOf(name),
      key: chain.keyOf(txIdOf(name)),
      value: valueOf(7),
      epoch: unwrap(parseEpoch(1)),
      decisionRevision: 42n,
    })),
    sender(),
  );
}

async function assign(name: string): Promise<void> {
  const items = [{ txId: txIdOf(name), value: valueOf(7) }];
  const sign: Parameters<SubmissionStore["assign"]>[1]["sign"] = async (nonce) => ({
    hash: chain.keyOf(txIdOf(`hash-${nonce}`)),
    raw: new Uint8Array([Number(nonce)]),
    ...FEES,
  });
  const outcome = await store.assign(lease, { items, windowMax: 8, gasLimit: 1n, sign });
  expect(outcome.kind).toBe("assigned");
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function ask(method: "GET" | "POST", url: string, payload?: object): Promise<Answer> {
  const response = await server.app.inject({
    method,
    url,
    ...(payload === undefined ? {} : { payload }),
  });
  return { status: response.statusCode, body: response.json() };
}

const codeOf = ({ body }: Answer): unknown => (body["error"] as { code?: string })?.code;
const messageOf = ({ body }: Answer): string =>
  String((body["error"] as { message?: string })?.message);

describe("GET /v1/submissions", () => {
  it("gives pages, oldest first, until there is no next", async () => {
    await lead();
    await enqueue("a", "b", "c");
    const first = await ask("GET", "/v1/submissions?limit=2");
    const rest = await ask("GET", `/v1/submissions?limit=2&after=${String(first.body["next"])}`);
    const idsOf = ({ body }: Answer) =>
      (body["submissions"] as { txId: string }[]).map((s) => s.txId);
    expect([idsOf(first), idsOf(rest), rest.body["next"]]).toEqual([["a", "b"], ["c"], null]);
  });

  it("keeps to the states asked for", async () => {
    await lead();
    await enqueue("a", "b");
    await store.quarantine(lease, txIdOf("b"), "another value stands");
    const { body } = await ask("GET", "/v1/submissions?state=quarantined");
    expect(body["submissions"]).toMatchObject([
      { txId: "b", state: "QUARANTINED", reason: "another value stands", value: "7" },
    ]);
  });

  it.each([
    "state=LOST",
    "limit=0",
    "limit=501",
    "limit=1e2",
    "after=",
    "state=QUEUED&state=ASSIGNED",
    `after=${"x".repeat(201)}`,
  ])("refuses ?%s and says why", async (query) => {
    const answer = await ask("GET", `/v1/submissions?${query}`);
    expect([answer.status, codeOf(answer)]).toEqual([400, "QUERY_INVALID"]);
  });
});

describe("GET /v1/submissions/{tx}", () => {
  it("tells its nonces, what was signed for them, and every move", async () => {
    await lead();
    await enqueue("a");
    await assign("a");
    const { status, body } = await ask("GET", "/v1/submissions/a");
    expect(status).toBe(200);
    expect(body).toMatchObject({
      txId: "a",
      state: "ASSIGNED",
      nonce: "0",
      slots: [
        {
          nonce: "0",
          state: "SIGNED",
          results: 1,
          attempts: [{ kind: "ORIGINAL", maxFeePerGasWei: "3000000000", sentCount: 0 }],
        },
      ],
    });
    expect(body["history"]).toMatchObject([{ nonce: "0", to: "SIGNED" }]);
    expect(JSON.stringify(body)).not.toContain('"raw"');
  });

  it("says that it was never queued, or is no id", async () => {
    expect(codeOf(await ask("GET", "/v1/submissions/nobody"))).toBe("TX_UNKNOWN");
    expect((await ask("GET", "/v1/submissions/a%20b")).status).toBe(400);
  });
});

describe("POST /v1/submissions/{tx}/retry", () => {
  it("queues a quarantined one again, and keeps who and why", async () => {
    await lead();
    await enqueue("a");
    await store.quarantine(lease, txIdOf("a"), "reverted too often");
    expect(await ask("POST", "/v1/submissions/a/retry", WHO)).toMatchObject({
      status: 200,
      body: { txId: "a", outcome: "released", by: WHO.operator, reason: WHO.reason },
    });
    expect((await store.get(txIdOf("a")))?.state).toBe("QUEUED");
    expect(store.operatorLog()).toMatchObject([
      { action: "RELEASE", subject: "a", by: WHO.operator, reason: WHO.reason },
    ]);
  });

  it("refuses while the nonce it had may still be mined, and says which", async () => {
    await lead();
    await enqueue("a");
    await assign("a");
    await store.quarantine(lease, txIdOf("a"), "looked odd");
    const answer = await ask("POST", "/v1/submissions/a/retry", WHO);
    expect([answer.status, codeOf(answer)]).toEqual([409, "SLOT_LIVE"]);
    expect(messageOf(answer)).toContain("nonce 0");
    expect((await store.get(txIdOf("a")))?.state).toBe("QUARANTINED");
  });

  it("refuses what is not quarantined, and what is unknown", async () => {
    await lead();
    await enqueue("a");
    const queued = await ask("POST", "/v1/submissions/a/retry", WHO);
    expect([queued.status, codeOf(queued)]).toEqual([409, "NOT_QUARANTINED"]);
    expect(messageOf(queued)).toContain("QUEUED");
    expect(codeOf(await ask("POST", "/v1/submissions/b/retry", WHO))).toBe("TX_UNKNOWN");
  });

  it.each([
    {},
    { operator: "ada" },
    { reason: "why" },
    { operator: " ", reason: "why" },
    { operator: "ada", reason: "two\nlines" },
    { operator: "ada", reason: "x".repeat(501) },
  ])("does nothing without a name and a reason: %j", async (body) => {
    await lead();
    await enqueue("a");
    await store.quarantine(lease, txIdOf("a"), "looked odd");
    const answer = await ask("POST", "/v1/submissions/a/retry", body);
    expect([answer.status, codeOf(answer)]).toEqual([400, "RETRY_INVALID"]);
    expect((await store.get(txIdOf("a")))?.state).toBe("QUARANTINED");
  });
});

describe("the sender", () => {
  it("is shown by what the database and the chain say of it", async () => {
    await lead();
    await enqueue("a");
    await assign("a");
    chain.takeNonce(ADDRESS);
    expect((await ask("GET", "/v1/sender")).body).toMatchObject({
      address: ADDRESS,
      known: true,
      nextNonce: "1",
      frozen: null,
      liveNonces: ["0"],
      gaps: [],
      counts: { ASSIGNED: 1 },
      chain: { latestNonce: "1", pendingNonce: "1", finalizedBlock: "0", problem: null },
    });
  });

  it("is shown without the chain's part while the chain is away", async () => {
    await lead();
    isChainDown = true;
    const { status, body } = await ask("GET", "/v1/sender");
    expect([status, body["nextNonce"]]).toEqual([200, "0"]);
    expect(body["chain"]).toMatchObject({
      latestNonce: null,
      problem: expect.any(String),
    });
    expect((body["chain"] as { problem: string }).problem).not.toBe("");
  });

  it("can be frozen and thawed by name, which is kept", async () => {
    await lead();
    const frozen = await ask("POST", "/v1/sender/freeze", WHO);
    expect(frozen.body["frozen"]).toMatchObject({
      reason: "by ada@example.org: the contract was wrong",
    });
    const thawed = await ask("POST", "/v1/sender/thaw", { ...WHO, reason: "it is right now" });
    expect(thawed.body["frozen"]).toBeNull();
    expect(store.operatorLog().map(({ action, by }) => [action, by])).toEqual([
      ["FREEZE", null],
      ["THAW", "ada@example.org: it is right now"],
    ]);
  });

  it("frozen by a person is never thawed by a program, whatever the person writes", async () => {
    await lead();
    const reason = "restored from the backup of yesterday";
    const { body } = await ask("POST", "/v1/sender/freeze", {
      operator: "history lost: x",
      reason,
    });
    const { mayThawItself } = await import("@quorate/core");
    expect(mayThawItself((body["frozen"] as { reason: string }).reason)).toBe(false);
  });

  it("that never led can't be frozen", async () => {
    const answer = await ask("POST", "/v1/sender/freeze", WHO);
    expect([answer.status, codeOf(answer)]).toEqual([404, "SENDER_UNKNOWN"]);
    expect(codeOf(await ask("POST", "/v1/sender/thaw", WHO))).toBe("SENDER_UNKNOWN");
  });
});

describe("a database that is away", () => {
  it("is answered by 503 and its own words, and may be asked again", async () => {
    broken = new StoreError("UNAVAILABLE", "PostgreSQL is away", { retryable: true });
    for (const path of ["/v1/status", "/v1/submissions", "/v1/submissions/a", "/v1/sender"]) {
      const answer = await ask("GET", path);
      expect([path, answer.status, codeOf(answer)]).toEqual([path, 503, "POSTGRES_UNAVAILABLE"]);
    }
  });
});

it("tells what history makes of each peer", async () => {
  const { status, body } = await ask("GET", "/v1/reputations");
  expect(status).toBe(200);
  expect(body).toEqual({
    reputations: [
      {
        peerId: REPUTATION.peerId,
        nodeId: null,
        score: scoreAt(REPUTATION.state, clock.nowMs()),
        totalVotes: 12,
        violations: 1,
        lastSeenAt: "1970-01-01T00:00:00.000Z",
      },
    ],
  });
});
