import { Client } from "pg";
import type { Row } from "../lib/row.ts";
import type { Scene } from "../lib/scene.ts";

const DIES_WITHIN_MS = 30_000;
const LEASE_TTL_SECONDS = 4;
const LEADS_WITHIN_MS = 45_000;

/**
 * The leader dies by SIGKILL right after an endpoint took its third transaction, and before it could note that. The next
 * one dies with bytes that are committed and were never sent. Whoever leads then has to find both by their nonces.
 */
export const submitterCrash: Row = {
  name: "submitter-crash",
  title: "Submitter Crash",
  injects:
    "SIGKILL of the leading submitter between an endpoint's answer and its record, then of the next one between committed bytes and their sending",
  expects: "the standby takes over by nonce; every result is recorded once",
  trustees: 5,
  threshold: 3,
  // The default of 10 s would make up most of what is measured: a dead leader's lease has to run out first.
  prepare: async () => ({ rig: { submitterSettings: { leaseTtlSeconds: LEASE_TTL_SECONDS } } }),
  run: async (scene) => {
    scene.figures["leader's lease, s"] = LEASE_TTL_SECONDS;
    await crashAt(scene, "sent, not noted", "chain.send.after=kill@3");
    await crashAt(scene, "committed, not sent", "pg.assign.after=kill@3");
    const rows = await attemptsOf(scene);
    scene.figures["sent more than once"] = rows;
  },
};

async function crashAt(scene: Scene, name: string, faults: string): Promise<void> {
  const { rig } = scene;
  // The standby is armed first; it leads once the present leader is gone.
  const leader = await rig.leader();
  const victim = rig.submitters.find((app) => app !== leader);
  if (leader === null || victim === undefined) throw new Error("nobody leads, or nobody stands by");
  await victim.stop();
  await victim.launch({ QUORATE_FAULT_POINT: faults });
  // Its end is meant from here on: with a backlog it may die within a second of leading.
  const died = victim.expectDeath();
  await victim.ready();
  await leader.stop();
  await leader.launch();
  await leader.ready();
  scene.say(`${victim.name} takes the lead, armed with ${faults}`);
  const timely = await Promise.race([
    died.then(() => true),
    scene.watch(DIES_WITHIN_MS).then(() => false),
  ]);
  const killedMs = performance.now();
  scene.expect(timely, `the fault point ${faults} was not met`);
  if (!timely) await victim.kill();
  scene.say(`${victim.name} is dead; ${leader.name} stands by`);
  await leads(scene, leader.name);
  scene.recovery[`${name}: kill, standby leads`] = Math.round(performance.now() - killedMs);
  await scene.recovered(`${name}: kill`, killedMs, "confirmed");
  await victim.launch();
  await victim.ready();
}

async function leads(scene: Scene, name: string): Promise<void> {
  const sinceMs = performance.now();
  while (performance.now() - sinceMs < LEADS_WITHIN_MS) {
    if ((await scene.rig.leader())?.name === name) return;
    await scene.watch(100);
  }
  throw new Error(`${name} does not lead after ${LEADS_WITHIN_MS / 1_000} s`);
}

/** Raw transactions that were handed to an endpoint more than once, the same bytes each time. */
async function attemptsOf({ rig }: Scene): Promise<number> {
  const client = new Client({ connectionString: rig.servers.postgres.url });
  await client.connect();
  try {
    const { rows } = await client.query<{ count: string }>(
      `SELECT count(*)::text AS count FROM "${rig.schema}".attempt WHERE sent_count > 1`,
    );
    return Number(rows[0]?.count ?? 0);
  } finally {
    await client.end();
  }
}
