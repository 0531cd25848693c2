import { bytesToHex } from "@quorate/core";
import { createNodeClient } from "@quorate/localcluster/client";
import type { EvilPeer } from "./attacker.ts";
import type { FloodJunk } from "./attacker-protocol.ts";
import { worstLagMs } from "./observe.ts";
import { pause } from "./raw-peer.ts";
import type { Stage } from "./stage.ts";

/** A trustee sends a frame at most every 30 ms, so 33 a second; this is a hundred times that. */
export const FLOOD = { perSecond: 3_300, seconds: 6 } as const;
/** Transactions a second that honest trustees vote on: about 25 frames a second from each, the normal rate. */
const HONEST_PER_SECOND = 25;
const SHARE_MIN = 0.8;
/** How long after the last vote a transaction may still be decided to count. */
const GRACE_MS = 1_000;

/**
 * Measures honest throughput without and with a flood, one right after the other, and checks
 * the share that is left. Transactions come at a normal rate whether or not earlier ones are decided.
 */
export async function honestShareUnder(
  stage: Stage,
  peer: EvilPeer,
  flooder: {
    readonly seed: Uint8Array;
    readonly junk: FloodJunk;
    /** Whether it comes back under another key each time that it is cut off. */
    readonly changesKeys: boolean;
    /** Messages a second. */
    readonly perSecond?: number;
  },
): Promise<void> {
  const { seed, junk, changesKeys, perSecond = FLOOD.perSecond } = flooder;
  await peer.arm({ seed, topic: stage.topic, count: perSecond * FLOOD.seconds, junk });
  await offer(stage, "warm", 2);
  const without = await offer(stage, "calm", FLOOD.seconds);
  stage.figures["eventLoopHeldUpCalmMs"] = await worstLagMs(stage.honest);
  const flooding = peer.fire({
    perSecond,
    addresses: stage.honest.map((node) => stage.addressOf(node)),
    topic: stage.topic,
    rejoinSeedHex: changesKeys ? null : bytesToHex(seed),
  });
  stage.published({ atMs: Date.now(), sent: 1 });
  const under = await offer(stage, "flood", FLOOD.seconds);
  const flood = await flooding;
  stage.figures["eventLoopHeldUpFloodedMs"] = await worstLagMs(stage.honest);
  const share = under / without;
  stage.figures["floodPerSecond"] = Math.round(flood.sent / flood.seconds);
  stage.figures["floodNotTaken"] = flood.refused;
  stage.figures["floodRejoined"] = flood.rejoined;
  stage.figures["decidedPerSecondCalm"] = rounded(without);
  stage.figures["decidedPerSecondFlooded"] = rounded(under);
  stage.figures["share"] = rounded(share);
  stage.check(
    flood.seconds < FLOOD.seconds / 0.8,
    `the attacker itself made only ${Math.round((flood.sent + flood.refused) / flood.seconds)} messages a second`,
  );
  stage.check(
    share > SHARE_MIN,
    `honest throughput fell to ${rounded(share)} of what it was (${rounded(without)} to ${rounded(under)} decided a second)`,
  );
}

const rounded = (n: number): number => Math.round(n * 100) / 100;

/** Transactions decided a second, of those that were offered in this time. */
async function offer(stage: Stage, label: string, seconds: number): Promise<number> {
  const nodes = stage.honest;
  const total = HONEST_PER_SECOND * seconds;
  const ids = Array.from({ length: total }, (_, i) => `${stage.attack.name}-${label}-${i}`);
  const startedMs = performance.now();
  const votes: Promise<unknown>[] = [];
  for (const [i, txId] of ids.entries()) {
    const dueMs = startedMs + (i * 1_000) / HONEST_PER_SECOND;
    while (performance.now() < dueMs) await pause(Math.max(1, dueMs - performance.now()));
    stage.traffic.note(txId, "7");
    // What was not taken is missing among the decided, and that is what is measured.
    for (const node of nodes)
      votes.push(
        createNodeClient(node.url)
          .vote(txId, "7")
          .catch(() => {}),
      );
  }
  await pause(GRACE_MS);
  const statuses = await stage.etcd.under(`transaction_status/${stage.attack.name}-${label}-`);
  const decided = [...statuses.values()].filter((status) => status !== "COLLECTING").length;
  await Promise.all(votes);
  return decided / seconds;
}
