import { parseClusterId, parseEvmAddress, unwrap } from "@quorate/core";
import type { Election, TallyMaintenance, TallyStore } from "@quorate/ports";
import { auditLogContract } from "../contracts/audit-log.contract.ts";
import { chainContract } from "../contracts/chain.contract.ts";
import { submissionStoreContract } from "../contracts/submission-store.contract.ts";
import { testClusterId } from "../contracts/tally-fixture.ts";
import { tallyStoreContract } from "../contracts/tally-store.contract.ts";
import { createMemoryAuditLog } from "../memory-audit-log.ts";
import { MemoryChain, memoryChainSigner } from "../memory-chain.ts";
import { createMemorySubmissionStore } from "../memory-submission-store.ts";
import { SharedTally } from "../memory-tally-shared.ts";
import { MemoryTallyStore } from "../memory-tally-store.ts";
import { RunningWorld, steadyServer } from "./running-world.ts";
import { chainError, simChainClient } from "./sim-chain-client.ts";
import { databaseError, simAuditLog, simSubmissionStore } from "./sim-database.ts";
import type { SimLink } from "./sim-link.ts";
import { simTallyClient, tallyError } from "./sim-tally-client.ts";

// The clients that simulations give to the engine, on links where nothing fails, are held to the same contracts as etcd,
// PostgreSQL and an EVM chain.

type Client = TallyStore & Election & TallyMaintenance;

tallyStoreContract("simulated etcd", async () => {
  const running = new RunningWorld();
  const { clock } = running;
  const shared = new SharedTally({ clock });
  const server = new MemoryTallyStore(shared, { clock });
  const etcd = steadyServer();
  const links = new Map<Client, SimLink>();
  let losing: SimLink | null = null;
  const writes = new Set(["commit", "recordBan", "strikeBan", "liftBan", "recordReceipts"]);
  return {
    clusterId: testClusterId("memory"),
    client: async () => {
      const link = running.link("client", etcd, tallyError, (operation) => {
        if (losing !== link || !writes.has(operation)) return null;
        losing = null;
        return { requestMs: 0, replyMs: 0, replyLost: "at once" };
      });
      const client = simTallyClient(link, { shared, server });
      links.set(client, link);
      await client.start();
      return client;
    },
    crash: async (client) => {
      const link = links.get(client);
      if (link !== undefined) running.cut(link);
    },
    pass: (ms) => running.pass(ms),
    loseNextReply: async (client) => {
      losing = links.get(client) ?? null;
    },
    restart: async () => {
      etcd.stop();
      etcd.start();
    },
    moveEpoch: async (set) => shared.setConfig(set),
    compact: async (revision) => shared.compact(revision),
    writeUnreadable: async () =>
      shared.inject([{ kind: "unreadable", key: "/quorate/memory/junk", problem: "unknown" }]),
    close: async () => {
      const stopped = [...links.keys()].map((client) => client.stop());
      await Promise.race([Promise.all(stopped), running.pass(60_000)]);
      running.close();
    },
  };
});

submissionStoreContract("simulated PostgreSQL", async () => {
  const running = new RunningWorld();
  let nowMs = 1_000;
  const tables = createMemorySubmissionStore({ nowMs: () => nowMs++ });
  const postgres = steadyServer();
  let losing = false;
  const store = simSubmissionStore(running.link("one", postgres, databaseError), tables);
  return {
    store,
    other: simSubmissionStore(running.link("other", postgres, databaseError), tables),
    lossy: simSubmissionStore(
      running.link("lossy", postgres, databaseError, () => {
        if (!losing) return null;
        losing = false;
        return { requestMs: 0, replyMs: 0, replyLost: "at once" };
      }),
      tables,
    ),
    loseNextReply: () => {
      losing = true;
    },
    archive: async (txId) => tables.archive(txId),
    operatorLog: async () => tables.operatorLog(),
    close: async () => running.close(),
  };
});

auditLogContract("simulated PostgreSQL", async () => {
  const running = new RunningWorld();
  const tables = createMemoryAuditLog();
  const postgres = steadyServer();
  return {
    log: simAuditLog(running.link("one", postgres, databaseError), tables),
    other: simAuditLog(running.link("other", postgres, databaseError), tables),
    records: async () => tables.records(),
    close: async () => running.close(),
  };
});

chainContract("simulated endpoints", async () => {
  const running = new RunningWorld();
  const address = unwrap(parseEvmAddress(`0x${"aa".repeat(20)}`));
  const chain = new MemoryChain({ clusterId: unwrap(parseClusterId("test")) }, running);
  chain.fund(address, 10n ** 20n);
  return {
    chain: simChainClient(running.link("one", steadyServer(), chainError), chain, {
      pollMs: 10,
      lie: () => null,
      othersAgree: () => true,
      forgets: () => false,
    }),
    signer: memoryChainSigner(address),
    mine: async (count) => chain.mine(count),
    reorg: async (depth) => chain.reorg(depth),
    close: async () => running.close(),
  };
});
