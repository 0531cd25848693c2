import {
  parseEpoch,
  parseEvmAddress,
  parseNodeId,
  parsePeerId,
  parseTxId,
  parseValue,
  unwrap,
  utf8,
} from "@quorate/core";
import { type PostgresServer, startPostgres, waitUntil } from "@quorate/devkit";
import type { NewSubmission, Sender, SenderLease, SubmissionStore } from "@quorate/ports";
import type { Pool } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { createAuditLog } from "./audit-log.ts";
import { createPool } from "./pool.ts";
import { createSubmissionStore } from "./submission-store.ts";
import { type CutProxy, startCutProxy } from "./testing/cut-proxy.ts";
import { silentLogger, startTestServer, type TestServer } from "./testing/database.ts";

const SENDER: Sender = {
  chainId: 1,
  address: unwrap(parseEvmAddress(`0x${"a1".repeat(20)}`)),
};
const SUBMISSION: NewSubmission = {
  txId: unwrap(parseTxId("tx-a")),
  key: `0x${"01".repeat(32)}`,
  value: unwrap(parseValue(7n)),
  epoch: unwrap(parseEpoch(1)),
  decisionRevision: 1n,
};
const REQUEST: Parameters<SubmissionStore["assign"]>[1] = {
  items: [{ txId: SUBMISSION.txId, value: SUBMISSION.value }],
  windowMax: 8,
  gasLimit: 21_000n,
  sign: async (nonce) => ({
    hash: `0x${"02".repeat(32)}`,
    raw: utf8(`signed for ${nonce}`),
    maxFeePerGasWei: 1n,
    maxPriorityFeePerGasWei: 1n,
  }),
};

let server: TestServer<PostgresServer>;
let proxy: CutProxy;
let schema: string;
let pool: Pool;
let store: SubmissionStore;

beforeAll(async () => {
  server = await startTestServer(startPostgres);
  proxy = await startCutProxy(server.url);
});
afterAll(async () => {
  await proxy.close();
  await server.stop();
});
beforeEach(async () => {
  ({ schema, pool } = await server.world());
  store = createSubmissionStore(pool);
  return () => pool.end();
});

/** Runs `body` while another connection holds the sender's row. */
async function whileSenderIsLocked<T>(body: () => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN; SELECT 1 FROM sender FOR UPDATE");
    return await body();
  } finally {
    await client.query("ROLLBACK");
    client.release();
  }
}

describe("a commit whose outcome is unknown", () => {
  let cut: Pool;
  let throughProxy: SubmissionStore;
  let lease: SenderLease;

  beforeEach(async () => {
    cut = createPool({ url: proxy.url, schema, logger: silentLogger });
    throughProxy = createSubmissionStore(cut);
    lease = await store.becomeLeader(SENDER, 0n);
    await store.markHistoryChecked(lease);
    await store.enqueue([SUBMISSION], SENDER);
    return () => cut.end();
  });

  test("rejects as retryable when the reply is lost; the slot is there and is not taken twice", async () => {
    proxy.cutNextCommit("reply");
    const call = throughProxy.assign(lease, REQUEST);
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    expect(await store.liveSlots(SENDER)).toMatchObject([{ nonce: 0n, state: "SIGNED" }]);
    expect(await throughProxy.assign(lease, REQUEST)).toEqual({ kind: "nothing-queued" });
  });

  test("rejects as retryable when the request is lost; nothing is there and the same nonce is taken", async () => {
    proxy.cutNextCommit("request");
    const call = throughProxy.assign(lease, REQUEST);
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    expect(await store.liveSlots(SENDER)).toEqual([]);
    expect(await throughProxy.assign(lease, REQUEST)).toMatchObject({ slot: { nonce: 0n } });
  });

  test("of an audit batch: the projector reads its position and records each change once", async () => {
    const log = createAuditLog(cut);
    const batch = {
      revision: 5n,
      rows: [
        {
          kind: "vote",
          txId: SUBMISSION.txId,
          nodeId: unwrap(parseNodeId("node-a")),
          peerId: unwrap(parsePeerId(`12D3KooW${"A".repeat(44)}`)),
          epoch: SUBMISSION.epoch,
          value: SUBMISSION.value,
          signature: utf8("signature"),
          proofJson: "{}",
          issuedAtMs: 0,
          revision: 5n,
        },
        {
          kind: "violation",
          txId: SUBMISSION.txId,
          nodeId: null,
          peerId: unwrap(parsePeerId(`12D3KooW${"B".repeat(44)}`)),
          type: "SILENT_FAILURE",
          grade: "OPINION",
          evidenceJson: "{}",
          detectedAtMs: 0,
          borneOut: true,
          revision: 5n,
        },
      ],
    } as const;
    proxy.cutNextCommit("reply");
    const call = log.append(null, batch);
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    expect(await log.append(null, batch)).toBe("stale");
    expect(await log.position()).toBe(5n);
    const { rows } = await pool.query(
      "SELECT total_votes, violations_count, penalty FROM node_reputation ORDER BY peer_id",
    );
    expect(rows).toEqual([
      { total_votes: 1n, violations_count: 0, penalty: 0 },
      { total_votes: 0n, violations_count: 1, penalty: 0.1 },
    ]);
  });
});

/** Connections that wait for a lock, of any schema of this server. */
async function lockWaiters(): Promise<number> {
  const text = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
  return (await pool.query(text)).rows.length;
}

describe("bounds", () => {
  test("an abort ends a call that waits for a lock, at once and with the signal's reason", async () => {
    await store.becomeLeader(SENDER, 0n);
    const patient = server.pool(schema, { statementTimeoutMs: 600_000 });
    const controller = new AbortController();
    const reason = new Error("shutting down");
    await whileSenderIsLocked(async () => {
      const waiting = createSubmissionStore(patient);
      const call = waiting.becomeLeader(SENDER, 0n, { signal: controller.signal });
      const rejected = expect(call).rejects.toBe(reason);
      await waitUntil(async () => (await lockWaiters()) === 1, {
        what: "the call to wait for the lock",
        timeoutMs: 10_000,
      });
      controller.abort(reason);
      await rejected;
    });
    await patient.end();
    // The lock is free, and the aborted call did not make a leader with it.
    expect((await store.becomeLeader(SENDER, 0n)).leaderEpoch).toBe(2n);
  });

  test("an abort while every connection is taken does not lose one", async () => {
    const single = server.pool(schema, { connectionsMax: 1 });
    try {
      const held = await single.connect();
      const controller = new AbortController();
      const call = createSubmissionStore(single).counts({ signal: controller.signal });
      controller.abort(new Error("shutting down"));
      await expect(call).rejects.toThrow("shutting down");
      held.release();
      expect(await createSubmissionStore(single).counts()).toMatchObject({ QUEUED: 0 });
    } finally {
      await single.end();
    }
  });

  test("a statement that takes too long is a TIMEOUT", async () => {
    await store.becomeLeader(SENDER, 0n);
    const impatient = server.pool(schema, { statementTimeoutMs: 100 });
    try {
      await whileSenderIsLocked(async () => {
        const call = createSubmissionStore(impatient).becomeLeader(SENDER, 0n);
        await expect(call).rejects.toMatchObject({ code: "TIMEOUT", retryable: true });
      });
    } finally {
      await impatient.end();
    }
  });

  test("a signer that hangs loses the sender's lock, and its slot is not stored", async () => {
    const strict = server.pool(schema, { idleInTransactionTimeoutMs: 100 });
    try {
      const lease = await store.becomeLeader(SENDER, 0n);
      await store.markHistoryChecked(lease);
      await store.enqueue([SUBMISSION], SENDER);
      const call = createSubmissionStore(strict).assign(lease, {
        ...REQUEST,
        sign: async (nonce, items) => {
          // Waits for the lock that this very transaction holds.
          await store.becomeLeader(SENDER, 0n);
          return REQUEST.sign(nonce, items);
        },
      });
      await expect(call).rejects.toMatchObject({ retryable: true });
      expect(await store.liveSlots(SENDER)).toEqual([]);
    } finally {
      await strict.end();
    }
  });
});

describe("the server", () => {
  test("that does not answer is a TIMEOUT", async () => {
    const impatient = server.pool(schema, { connectTimeoutMs: 200 });
    await server.postgres.pause();
    try {
      const call = createSubmissionStore(impatient).counts();
      await expect(call).rejects.toMatchObject({ code: "TIMEOUT", retryable: true });
    } finally {
      await server.postgres.resume();
      await impatient.end();
    }
  });

  test("that crashes and comes back has all that was committed, and the pool works on", async () => {
    const lease = await store.becomeLeader(SENDER, 0n);
    await store.markHistoryChecked(lease);
    await store.enqueue([SUBMISSION], SENDER);
    const assigned = await store.assign(lease, REQUEST);
    await server.postgres.kill();
    await expect(store.counts()).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
    await server.postgres.restart();
    expect(assigned).toMatchObject({ slot: (await store.liveSlots(SENDER))[0] });
    expect(await store.isLeader(lease)).toBe(true);
  });

  test("commits synchronously, under the isolation and the settings we asked for", async () => {
    const text = `SELECT current_setting('synchronous_commit') AS commit,
      current_setting('application_name') AS name, current_setting('search_path') AS path,
      current_setting('statement_timeout') AS statement,
      current_setting('idle_in_transaction_session_timeout') AS idle`;
    expect((await pool.query(text)).rows).toEqual([
      { commit: "on", name: "quorate", path: schema, statement: "10s", idle: "15s" },
    ]);
  });
});
