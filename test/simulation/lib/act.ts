import { FAULT_POINTS } from "@quorate/engine";
import { changeEpoch } from "./epoch-change.ts";
import { type Fault, randomOf } from "./faults.ts";
import { forgeBan, forgeStatus } from "./intruder.ts";
import type { NodeSeat } from "./node-seat.ts";
import { pick } from "./plan.ts";
import { LEASE_TTL_SECONDS, type SubmitterSeat } from "./submitter-seat.ts";
import { FINAL_DEPTH, SENDER_ADDRESS, type World } from "./world.ts";

const NODE_POINTS = [
  "commit.before",
  "commit.after",
  "accusation.journaled",
  "accusation.recorded",
];
const PROJECTOR_POINTS = ["projector.before-append", "projector.after-append"];
const GWEI = 10n ** 9n;

/** Lets a fault happen, and ends it when its time is over. */
export function act(world: World, fault: Fault): void {
  const { trace, weather, clock } = world;
  trace.note(`fault ${fault.id} ${fault.kind} for ${fault.forMs} ms`);
  const end = begin(world, fault);
  if (end === null) return;
  clock.schedule(fault.forMs, () => {
    trace.note(`fault ${fault.id} ${fault.kind} ends`);
    end();
    weather.end(fault);
  });
}

/** @returns what ends it; null when it is done already */
function begin(world: World, fault: Fault): (() => void) | null {
  const { weather, chain, etcd, postgres, tally } = world;
  const random = randomOf(fault);
  const node = (): NodeSeat => pickAt(world.nodes, fault.target);
  const submitter = (): SubmitterSeat => pickAt(world.submitters, fault.target);
  const strike = (): void => weather.strike(fault.kind);
  switch (fault.kind) {
    case "node-crash":
      if (node().crash(fault.forMs, "killed")) strike();
      return null;
    case "node-crash-at-point": {
      const seat = node();
      seat.arm(pick(random, NODE_POINTS), 1 + random.below(3));
      return () => seat.disarm();
    }
    case "node-pause": {
      const { process } = node();
      if (process === null) return null;
      strike();
      return pause(process);
    }
    case "power-cut": {
      const died = world.nodes.filter((seat) => seat.crash(random.below(fault.forMs), "power cut"));
      if (died.length > 0) strike();
      return null;
    }
    case "epoch-change":
      changeEpoch(world, random);
      return null;
    case "node-disk-full": {
      strike();
      const { disk } = node();
      disk.isFull = true;
      return () => {
        disk.isFull = false;
      };
    }
    case "node-disk-slow": {
      strike();
      const { disk } = node();
      disk.syncMs = 20 + 800 * fault.extent;
      return () => {
        disk.syncMs = 1;
      };
    }
    case "node-clock-jump":
      strike();
      // Mostly as NTP would correct it; now and then as somebody types it.
      node().skewMs = Math.round((fault.extent - 0.5) * (random.next() < 0.25 ? 200_000 : 20_000));
      return null;
    case "submitter-crash":
      if (submitter().crash(fault.forMs, "killed")) strike();
      return null;
    case "submitter-crash-at-point": {
      const seat = submitter();
      seat.arm(pick(random, [...FAULT_POINTS, ...PROJECTOR_POINTS]), 1 + random.below(3));
      return () => seat.disarm();
    }
    case "submitter-zombie": {
      const { process } = submitter();
      if (process === null) return null;
      strike();
      const wake = pause(process);
      // Its sleep is longer than its lease, whatever was drawn.
      world.clock.schedule(Math.max(fault.forMs, LEASE_TTL_SECONDS * 1_500), wake);
      return null;
    }
    case "etcd-leader-change":
      strike();
      etcd.freeze();
      return () => etcd.thaw();
    case "etcd-restart":
      strike();
      etcd.stop();
      return () => etcd.start();
    case "etcd-lease-expiry":
      if (world.tally.endSomeLease(fault.target)) strike();
      return null;
    case "etcd-compaction": {
      const position = world.audit.positionNow();
      if (position === null || position <= tally.compacted) return null;
      strike();
      // Compaction stays behind the projector; watchers that are slower than that lose their place.
      tally.compact(position);
      return null;
    }
    case "pg-restart":
      strike();
      postgres.stop();
      return () => postgres.start();
    case "chain-reorg":
    case "chain-reorg-to-pool": {
      const depth = 1 + random.below(FINAL_DEPTH - 1);
      if (chain.tip.number <= BigInt(depth)) return null;
      strike();
      chain.reorg(depth, { toPool: fault.kind === "chain-reorg-to-pool" });
      world.trace.note(`chain reorg of ${depth}, now ${chain.tip.number}`);
      return null;
    }
    case "chain-pool-dropped":
      if (chain.dropPool() > 0) strike();
      return null;
    case "chain-full-blocks":
      // It strikes with each block that leaves a transaction waiting.
      chain.poolHeld = true;
      return () => {
        chain.poolHeld = false;
      };
    case "chain-fee-spike":
      strike();
      chain.setBaseFee(BigInt(2 + random.below(20)) * GWEI);
      return () => chain.setBaseFee(GWEI);
    case "chain-foreign-nonce":
      strike();
      chain.takeNonce(SENDER_ADDRESS);
      // Every other one is undone by a reorg, and the nonce is free again.
      if (random.next() < 0.5)
        world.clock.schedule(world.plan.blockMs * (0.5 + random.next()), () => {
          world.trace.note("the foreign transaction is undone");
          chain.reorg(Math.min(FINAL_DEPTH - 1, Number(chain.tip.number) - 1), { toPool: false });
        });
      return null;
    case "intruder-forges-ban":
      if (forgeBan(world, fault)) strike();
      return null;
    case "intruder-forges-status":
      if (forgeStatus(world, fault)) strike();
      return null;
    // What befalls messages and calls, as long as it lasts.
    case "gossip-loss":
    case "gossip-delay":
    case "gossip-duplicate":
    case "gossip-partition":
    case "gossip-isolate":
    case "etcd-slow":
    case "etcd-request-lost":
    case "etcd-reply-lost":
    case "etcd-cut":
    case "etcd-watch-lag":
    case "pg-slow":
    case "pg-commit-unknown":
    case "pg-cut":
    case "chain-forgets-sends":
    case "rpc-slow":
    case "rpc-reply-lost":
    case "rpc-down":
    case "rpc-lies":
      weather.begin(fault);
      return () => {};
  }
}

function pause(process: { pause(): void; resume(): void }): () => void {
  process.pause();
  return () => process.resume();
}

function pickAt<T>(items: readonly T[], at: number): T {
  const item = items[at % items.length];
  if (item === undefined) throw new Error("nobody to befall");
  return item;
}
