import { memoryChainSigner } from "@quorate/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import { SubmitterGauges } from "./submitter-gauges.ts";
import { SenderWorld } from "./test-sender-world.ts";

let world: SenderWorld;
let gauges: SubmitterGauges;
let lastBackup: () => Promise<number>;

const value = (name: string): number | null => world.metrics.value(name);

beforeEach(() => {
  world = new SenderWorld();
  const { submissions, chain, clock, logger, metrics } = world;
  const signer = memoryChainSigner(world.sender.address);
  lastBackup = async () => 0;
  gauges = new SubmitterGauges(
    { kind: "confirmations", blocks: 2 },
    {
      submissions,
      chain,
      signer,
      lastBackupSeconds: () => lastBackup(),
      clock,
      logger,
      metrics,
    },
  );
});

describe("what a submitter looks at", () => {
  test("is the account's money, the nonces in flight and the age of the oldest waiting submission", async () => {
    const sender = world.senderWith(await world.lead());
    await world.queue("a", "b", "c");
    await world.clock.advance(4_000);
    await sender.sendQueued({ signal: world.signal });
    await gauges.look();
    expect(value("submitter_balance_ether")).toBe(1);
    // Two fit into one chain transaction.
    expect(value("submitter_nonce_gap")).toBe(2);
    expect(value("submissions_oldest_pending_seconds")).toBe(4);
    expect(value("postgres_up")).toBe(1);
    expect(value("chain_endpoints_up")).toBe(value("chain_endpoints"));
    await world.heads(sender, 1);
    await gauges.look();
    expect(value("submitter_nonce_gap")).toBe(0);
  });

  test("is never an old balance while no endpoint answers, nor 0 before the first look", async () => {
    expect(value("submitter_balance_ether")).toBeNaN();
    await gauges.look();
    expect(value("submitter_balance_ether")).toBe(1);
    world.chainFault = () => ({ fail: true });
    await gauges.look();
    expect(value("submitter_balance_ether")).toBeNaN();
    expect(value("chain_endpoints_up")).toBe(0);
    expect(world.metrics.value("submitter_watch_failures_total", { what: "chain" })).toBe(1);
  });

  test("is when the last backup was taken: unknown before the first look and while it can't be read, 0 when never", async () => {
    const name = "backup_last_success_timestamp_seconds";
    expect(value(name)).toBeNaN();
    await gauges.look();
    expect(value(name)).toBe(0);
    lastBackup = async () => 1_700_000_000;
    await gauges.look();
    expect(value(name)).toBe(1_700_000_000);
    lastBackup = async () => {
      throw new Error("permission denied for table backup_made");
    };
    await gauges.look();
    expect(value(name)).toBeNaN();
    lastBackup = async () => 1_700_000_001;
    await gauges.look();
    expect(value(name)).toBe(1_700_000_001);
  });

  test("is the queue and PostgreSQL's health also where the role may not read when the last backup was", async () => {
    lastBackup = async () => {
      throw new Error("permission denied for table backup_made");
    };
    const sender = world.senderWith(await world.lead());
    await world.queue("a");
    await sender.sendQueued({ signal: world.signal });
    await gauges.look();
    expect(value("postgres_up")).toBe(1);
    expect(value("submitter_nonce_gap")).toBe(1);
    const failures = (what: string) =>
      world.metrics.value("submitter_watch_failures_total", { what });
    expect([failures("backup"), failures("postgres")]).toEqual([1, 0]);
  });

  test("says that PostgreSQL is away, and looks at the chain all the same", async () => {
    world.storeFault = () => {
      throw new Error("gone");
    };
    await gauges.look();
    expect(value("postgres_up")).toBe(0);
    expect(value("submitter_balance_ether")).toBe(1);
    world.storeFault = () => {};
    await gauges.look();
    expect(value("postgres_up")).toBe(1);
  });
});
