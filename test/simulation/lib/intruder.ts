import { parseTxId, type TxRecord, unwrap } from "@quorate/core";
import type { Fault } from "./faults.ts";
import type { World } from "./world.ts";

/** Somebody with write access to etcd makes up a proven ban of an honest trustee, with evidence that proves nothing. */
export function forgeBan(world: World, fault: Fault): boolean {
  const { tally, cluster, witness } = world;
  const honest = cluster.nodes.filter((_, i) => !world.isByzantine(i));
  const victim = honest[fault.target % honest.length];
  if (victim === undefined || tally.bans.has(victim.peerId)) return false;
  const { peerId, nodeId } = victim;
  const leaf = {
    value: "1",
    timestamp: "",
    signature: "",
    peer_id: peerId,
    leaf: "",
    index: 0,
    size: 1,
    path: "",
  };
  const ban = {
    peerId,
    nodeId,
    reason: "DOUBLE_VOTING",
    grade: "PROOF",
    bannedAtMs: 0,
    evidence: { type: "DOUBLE_VOTING", first: leaf, second: leaf },
  } as const;
  tally.bans.set(peerId, { ban, version: tally.nextRevision });
  witness.forging(() => tally.inject([{ kind: "ban", peerId, ban }]));
  return true;
}

/** Somebody with write access to etcd says of a transaction that nobody has voted on that its threshold is reached. */
export function forgeStatus(world: World, fault: Fault): boolean {
  const { tally, witness, plan, clock, cluster } = world;
  const txId = unwrap(parseTxId(`forged-${plan.seed}-${fault.id}`));
  const record: TxRecord = {
    epoch: cluster.set.epoch,
    policy: plan.policy,
    profile: plan.profile,
    excluded: [],
    openedAtMs: Math.floor(clock.nowMs()),
    deadlineAtMs: Math.floor(clock.nowMs()) + plan.deadlineMs,
    value: 666n as never,
    unanimous: true,
    thresholdAtMs: Math.floor(clock.nowMs()),
    reason: null,
    offenders: [],
    absent: null,
    chain: null,
  };
  const revision = tally.nextRevision;
  tally.transactions.set(txId, {
    created: revision,
    version: revision,
    status: "THRESHOLD_REACHED",
    record,
    votes: new Map(),
    violations: new Map(),
    decision: null,
  });
  witness.forging(() =>
    tally.inject([
      { kind: "status", txId, status: "THRESHOLD_REACHED", created: true },
      { kind: "record", txId, record },
    ]),
  );
  return true;
}
