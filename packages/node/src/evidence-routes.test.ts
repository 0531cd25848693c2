import {
  type BanLift,
  type PeerId,
  parseTxId,
  unwrap,
  utf8,
  type Verify,
  verifyEvidenceFile,
} from "@quorate/core";
import { type BanEntry, StoreError } from "@quorate/ports";
import { createMetrics, createOpsServer, type OpsServer } from "@quorate/telemetry";
import {
  castVotes,
  MemoryTallyStore,
  memoryLogger,
  nodeAt,
  nodeEd25519,
  SharedTally,
  SimClock,
  type TallyFault,
  testCluster,
  txIdOf,
  vote,
} from "@quorate/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import { addBanRoutes } from "./ban-routes.ts";
import { addEvidenceRoutes } from "./evidence-routes.ts";

const cluster = testCluster({ trustees: 5, threshold: 3 });
const { set } = cluster;
const verify: Verify = (key, message, signature) => nodeEd25519.verify(key, message, signature);
const config = {
  policy: "strict-abort",
  profile: "strict",
  settleMs: 500,
  deadlineMs: 1_000,
  silenceStreakMax: 3,
} as const;

let server: OpsServer;
let store: MemoryTallyStore;
let bans: ReadonlyMap<PeerId, BanEntry>;
let fault: TallyFault | null;

beforeEach(async () => {
  const clock = new SimClock();
  fault = null;
  store = new MemoryTallyStore(new SharedTally({ clock }), { clock }, { fault: () => fault });
  await store.initCluster(set);
  server = createOpsServer({
    host: "127.0.0.1",
    port: 0,
    metrics: createMetrics({}),
    logger: memoryLogger(),
    health: () => ({ status: "ok", uptimeSeconds: 1, version: "0" }),
    ready: () => ({ ready: true, checks: [] }),
    bodyLimitBytes: 8_192,
  });
  const { peerId, signer } = nodeAt(cluster, 0);
  const node = {
    view: {
      get banRecords() {
        return bans;
      },
    },
  };
  addEvidenceRoutes(server.app, { store, peerId, signer, ed25519: nodeEd25519, clock });
  addBanRoutes(server.app, { node, store, clock });
  bans = new Map();
});

async function ask(url: string, body?: object) {
  const response = await server.app.inject(
    body === undefined ? { method: "GET", url } : { method: "POST", url, payload: body },
  );
  return { status: response.statusCode, text: response.body, json: response.json() as never };
}

/** Node 5 (by index 4) signs two values for each of these. */
async function doubleVotes(...txIds: readonly string[]): Promise<void> {
  const { epochVersion } = await store.readConfig();
  for (const [i, txId] of txIds.entries()) {
    // A banned trustee's votes are refused, so each time it is another one.
    const votes = [1, 2].map((value) => vote(cluster, 4 - i, txId, value));
    for (const one of votes)
      await castVotes(store, set, epochVersion, { txId: txIdOf(txId), votes: [one] });
  }
  bans = (await store.readBans()).bans;
}

/** All but node 5 vote, and then the deadline passes. */
async function silence(txId: string): Promise<void> {
  const { epochVersion } = await store.readConfig();
  const input = { txId: txIdOf(txId), nowMs: 1_700_000_000_000 };
  const votes = [0, 1, 2, 3].map((node) => vote(cluster, node, txId, 7));
  await castVotes(store, set, epochVersion, { ...input, votes }, config);
  const late = { ...input, votes: [], deadlinePassed: true };
  await castVotes(store, set, epochVersion, late, config);
  bans = (await store.readBans()).bans;
}

const offender = nodeAt(cluster, 4);
const idOf = (txId: string, type: string): string => `${txId}/${offender.peerId}/${type}`;

describe("GET /v1/evidence", () => {
  it("lists violations page by page, each once, and by transaction or trustee", async () => {
    await doubleVotes("tx-a", "tx-b", "tx-c");
    const ids: string[] = [];
    let next: string | null = "";
    while (next !== null) {
      const after: string = next === "" ? "" : `&after=${encodeURIComponent(next)}`;
      const page: { evidence: { id: string }[]; next: string | null } = (
        await ask(`/v1/evidence?limit=2${after}`)
      ).json;
      expect(page.evidence.length).toBeLessThanOrEqual(2);
      ids.push(...page.evidence.map((e) => e.id));
      ({ next } = page);
    }
    expect(ids.map((id) => id.split("/")[0])).toEqual(["tx-a", "tx-b", "tx-c"]);
    const one = {
      id: idOf("tx-a", "DOUBLE_VOTING"),
      txId: "tx-a",
      peerId: offender.peerId,
      nodeId: "node-005",
      type: "DOUBLE_VOTING",
      grade: "PROOF",
    };
    for (const query of ["tx=tx-a", "node=node-005", `node=${offender.peerId}`, "limit=1"])
      expect((await ask(`/v1/evidence?${query}`)).json, query).toMatchObject({ evidence: [one] });
    // Looked for beyond the first of each page.
    expect((await ask("/v1/evidence?node=node-003&limit=1")).json).toMatchObject({
      evidence: [{ txId: "tx-c" }],
      next: null,
    });
    expect((await ask("/v1/evidence?tx=tx-a&node=node-001")).json).toEqual({
      evidence: [],
      next: null,
    });
  });

  it.each(["limit=0", "limit=1001", "limit=1e3", "tx=a/b", "after=nowhere", "node=a&node=b"])(
    "refuses %s",
    async (query) => {
      await doubleVotes("tx-a");
      expect(await ask(`/v1/evidence?${query}`)).toMatchObject({
        status: 400,
        json: { error: { code: "QUERY_INVALID" } },
      });
    },
  );

  it("says that etcd does not answer", async () => {
    fault = { failBefore: true };
    for (const url of ["/v1/evidence", `/v1/evidence/${idOf("tx-a", "DOUBLE_VOTING")}/file`])
      expect(await ask(url)).toMatchObject({
        status: 503,
        json: { error: { code: "STORE_UNAVAILABLE" } },
      });
  });
});

describe("GET /v1/evidence/{tx}/{peer}/{type}", () => {
  it("tells what is proven, and exports a file that stands alone, signed by this node", async () => {
    await doubleVotes("tx:a");
    const url = `/v1/evidence/${idOf("tx:a", "DOUBLE_VOTING")}`;
    const finding = "node-005 signed two votes for tx:a in epoch 1: 1 and 2.";
    expect((await ask(url)).json).toMatchObject({
      finding,
      problem: null,
      evidence: { type: "DOUBLE_VOTING" },
    });
    const { text } = await ask(`${url}/file`);
    const verdict = unwrap(verifyEvidenceFile(utf8(text), verify));
    expect(verdict).toMatchObject({ finding, exportedBy: { nodeId: "node-001" } });
  });

  it("exports an absence with the tally it was read from", async () => {
    await silence("tx-s");
    const { text } = await ask(`/v1/evidence/${idOf("tx-s", "SILENT_FAILURE")}/file`);
    const verdict = unwrap(verifyEvidenceFile(utf8(text), verify));
    expect(verdict).toMatchObject({ grade: "OPINION", accused: { nodeId: "node-005" } });
    expect(verdict.finding).toContain("4 of 5 trustees had");
  });

  it("never exports what is not borne out, and says why", async () => {
    const { peerId, nodeId } = offender;
    const txId = unwrap(parseTxId("tx-f"));
    const [first, second] = [vote(cluster, 4, "tx-f", 1), vote(cluster, 4, "tx-f", 1)];
    await doubleVotes("tx-a");
    const [real] = await store.readViolations(txIdOf("tx-a"));
    if (real?.evidence.type !== "DOUBLE_VOTING") throw new Error("no evidence");
    expect(first.vote.value).toBe(second.vote.value);
    const evidence = { ...real.evidence, second: real.evidence.first };
    await store.recordViolation({
      violation: { ...real, txId, evidence },
      ban: { peerId, nodeId, reason: "DOUBLE_VOTING", grade: "PROOF", bannedAtMs: 1, evidence },
    });
    const url = `/v1/evidence/tx-f/${peerId}/DOUBLE_VOTING`;
    const problem = "the two votes are for the same value";
    expect((await ask(url)).json).toMatchObject({ finding: null, problem });
    expect(await ask(`${url}/file`)).toMatchObject({
      status: 409,
      json: { error: { code: "EVIDENCE_UNPROVEN", message: expect.stringContaining(problem) } },
    });
  });

  it("of what is not recorded is 404, and of what can't be is 400", async () => {
    const unknown = { status: 404, json: { error: { code: "EVIDENCE_UNKNOWN" } } };
    expect(await ask(`/v1/evidence/${idOf("tx-a", "DOUBLE_VOTING")}`)).toMatchObject(unknown);
    expect(await ask(`/v1/evidence/${idOf("tx-a", "DOUBLE_VOTING")}/file`)).toMatchObject(unknown);
    expect((await ask(`/v1/evidence/${idOf("tx-a", "GOSSIP")}`)).status).toBe(400);
    expect((await ask("/v1/evidence/tx-a/nobody/DOUBLE_VOTING")).status).toBe(400);
  });
});

describe("GET /v1/bans", () => {
  it("names who, since when, why, how sure, and the evidence, also that of an absence", async () => {
    await silence("tx-s");
    expect((await ask("/v1/bans")).json).toEqual({
      bans: [
        {
          peerId: offender.peerId,
          nodeId: "node-005",
          reason: "SILENT_FAILURE",
          grade: "OPINION",
          bannedAt: "2023-11-14T22:13:20.000Z",
          evidenceId: idOf("tx-s", "SILENT_FAILURE"),
        },
      ],
    });
  });

  it("names the evidence of a proven ban", async () => {
    await doubleVotes("tx-a");
    expect((await ask("/v1/bans")).json).toMatchObject({
      bans: [{ grade: "PROOF", evidenceId: idOf("tx-a", "DOUBLE_VOTING") }],
    });
  });
});

describe("POST /v1/bans/{peer}/lift", () => {
  const request = { reason: "its power was cut", operator: "ada@ops" };

  it.each([offender.peerId, "node-005"])("lifts an opinion's ban of %s, recorded", async (name) => {
    await silence("tx-s");
    const answer = await ask(`/v1/bans/${name}/lift`, request);
    expect(answer).toMatchObject({
      status: 200,
      json: {
        peerId: offender.peerId,
        nodeId: "node-005",
        by: "ada@ops",
        banReason: "SILENT_FAILURE",
      },
    });
    expect((await store.readBans()).bans.size).toBe(0);
    const lift: Partial<BanLift> = { kind: "OPERATOR", by: "ada@ops", reason: request.reason };
    expect(await store.readLifts()).toMatchObject([lift]);
    expect((await ask("/v1/bans?lifts=true")).json).toMatchObject({ lifts: [{ by: "ada@ops" }] });
    expect((await ask(`/v1/bans/${name}/lift`, request)).status).toBe(404);
  });

  it("refuses to lift what is proven", async () => {
    await doubleVotes("tx-a");
    const answer = await ask("/v1/bans/node-005/lift", request);
    expect(answer).toMatchObject({ status: 409, json: { error: { code: "BAN_PERMANENT" } } });
    expect((await store.readBans()).bans.size).toBe(1);
  });

  it.each([
    ["without a reason", { operator: "ada" }],
    ["with an empty reason", { reason: "  ", operator: "ada" }],
    ["with a reason of two lines", { reason: "a\nb", operator: "ada" }],
    ["with a reason too long", { reason: "x".repeat(501), operator: "ada" }],
    ["by nobody", { reason: "x" }],
  ])("refuses a lift %s", async (_how, body) => {
    await silence("tx-s");
    expect((await ask("/v1/bans/node-005/lift", body)).status).toBe(400);
    expect((await store.readBans()).bans.size).toBe(1);
  });

  it("says who is not banned, and what is no name", async () => {
    expect((await ask("/v1/bans/node-001/lift", request)).status).toBe(404);
    expect((await ask("/v1/bans/NOBODY!/lift", request)).status).toBe(400);
  });

  it("asks which peer is meant when several are banned under one name", async () => {
    await silence("tx-s");
    const [ban] = [...(await store.readBans()).bans.values()];
    if (ban === undefined) throw new StoreError("REFUSED", "no ban", { retryable: false });
    const { peerId } = nodeAt(cluster, 3);
    await store.recordBan({ ...ban, peerId });
    const answer = await ask("/v1/bans/node-005/lift", request);
    expect(answer).toMatchObject({ status: 409, json: { error: { code: "AMBIGUOUS" } } });
    expect(answer.text).toContain(peerId);
    expect((await ask(`/v1/bans/${peerId}/lift`, request)).status).toBe(200);
  });
});
