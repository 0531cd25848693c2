import { createNodeClient } from "@quorate/localcluster/client";
import { ATTACKER, type AttackResult } from "./attack.ts";
import { checkEvidence, type EvidenceVerdict } from "./evidence.ts";
import { readChain } from "./honest-traffic.ts";
import { recordersOf } from "./observe.ts";
import type { Stage } from "./stage.ts";

/** Draws an attack's balance. @param failure what broke it off; null when it ran to its end */
export async function conclude(
  stage: Stage,
  failure: unknown,
): Promise<Omit<AttackResult, "seconds">> {
  const { attack, notes, traffic, etcd } = stage;
  const { problems } = notes;
  const { reaction } = attack;
  if (failure !== null)
    problems.push(failure instanceof Error ? failure.message : "the attack broke off");
  await traffic.settled(etcd);
  const statuses = await etcd.under("transaction_status/");
  const chain = await readChain(stage.servers, stage.cluster, statuses.keys());
  const balance = await traffic.judge(etcd, chain);
  problems.push(...balance.problems);
  const bans = await judgeBans(stage);
  if (failure === null && reaction.kind === "nobody" && reaction.refusedBy.length > 0)
    await stage.turnedAway(1, ...reaction.refusedBy);
  const evidence = reaction.kind === "ban" ? await judgeEvidence(stage, reaction) : null;
  const caught =
    bans.guilty.length === 0
      ? null
      : { banned: bans.guilty, reason: bans.reason, recordedBy: await recordedBy(stage) };
  return {
    name: attack.name,
    does: attack.does,
    expects: attack.expects,
    passed: problems.length === 0,
    problems,
    caught,
    refused: reaction.kind === "ban" || caught !== null ? null : await refusedHow(stage),
    banInEtcdMs: notes.banInEtcdMs,
    banEverywhereMs: notes.banEverywhereMs,
    evidenceVerified: evidence?.verified ?? null,
    finding: evidence?.sentence ?? null,
    honestBanned: bans.innocent.length,
    wronglyDecided: balance.wronglyDecided,
    transactions: {
      honest: balance.honest,
      decided: balance.decided,
      abortedByPolicy: balance.abortedByPolicy,
    },
    figures: stage.figures,
  };
}

async function refusedHow(stage: Stage): Promise<string> {
  const refusals = [...(await stage.refusals())].map(([reason, n]) => `${reason} ×${n}`);
  const counted = refusals.join(", ") || "nothing to refuse";
  return stage.notes.refused === null ? counted : `${stage.notes.refused} (${counted})`;
}

/** Whoever is banned or accused must be the one whom the attack is about, and nobody else. */
async function judgeBans(stage: Stage): Promise<{
  readonly guilty: readonly string[];
  readonly innocent: readonly string[];
  readonly reason: string;
}> {
  const { reaction, attackers = [ATTACKER] } = stage.attack;
  const { problems } = stage.notes;
  const bans = await stage.etcd.bans();
  const nameOf = (peerId: string): string =>
    stage.cluster.set.trustees.find((t) => t.peerId === peerId)?.nodeId ?? peerId;
  const names = [...bans.keys()].map(nameOf);
  const expected = reaction.kind === "ban" ? [reaction.nodeId] : [];
  const guilty = names.filter((name) =>
    reaction.kind === "at-most-the-attacker" ? attackers.includes(name) : expected.includes(name),
  );
  const others = names.filter((name) => !guilty.includes(name));
  for (const name of others) problems.push(`${name} is banned, and should not be`);
  for (const name of expected) if (!guilty.includes(name)) problems.push(`${name} is not banned`);
  for (const path of (await stage.etcd.under("violations/")).keys()) {
    const [, peerId = "", type] = path.split("/");
    const accused = nameOf(peerId);
    if (!attackers.includes(accused)) problems.push(`${accused} is accused of ${type}`);
  }
  const reason = [...bans.values()].map((ban) => String(ban["reason"])).join(", ");
  return { guilty, innocent: others.filter((name) => !attackers.includes(name)), reason };
}

async function recordedBy({ attack, honest, notes }: Stage): Promise<readonly string[]> {
  if (attack.reaction.kind !== "ban") return [];
  const after = await recordersOf(honest, attack.reaction.reason);
  return [...after].flatMap(([name, n]) =>
    n > (notes.recordersBefore.get(name) ?? 0) ? [name] : [],
  );
}

async function judgeEvidence(
  stage: Stage,
  accusation: { readonly nodeId: string; readonly reason: string },
): Promise<EvidenceVerdict> {
  const { problems } = stage.notes;
  const stored = (await stage.violationsOf(accusation.nodeId)).get(accusation.reason);
  const exporter = stage.honest[0];
  if (stored === undefined || exporter === undefined) {
    problems.push(`no evidence is stored for ${accusation.reason}`);
    return { verified: false, nodeId: null, sentence: "no evidence is stored" };
  }
  const file = await createNodeClient(exporter.url).evidenceFile(stored.id);
  const verdict = checkEvidence(Buffer.from(file, "utf8"));
  if (!verdict.verified) problems.push(`the evidence does not hold: ${verdict.sentence}`);
  else if (verdict.nodeId !== accusation.nodeId)
    problems.push(`the evidence proves something about ${verdict.nodeId}`);
  return verdict;
}
