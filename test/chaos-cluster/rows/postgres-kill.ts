import { readLogs } from "../lib/invariants.ts";
import type { Row } from "../lib/row.ts";
import type { Scene } from "../lib/scene.ts";

const DOWN_MS = 8_000;
/** What was sent before the kill may still be mined: two blocks of a second. */
const MINED_MS = 2_500;

export const postgresKill: Row = {
  name: "postgres-failure",
  title: "PostgreSQL Failure",
  injects: "SIGKILL of PostgreSQL for 8 s; then it starts again",
  expects: "votes go on; submissions pause, and resume when it is back",
  trustees: 5,
  threshold: 3,
  run: async (scene) => {
    const { postgres } = scene.rig.servers;
    const killedMs = performance.now();
    await postgres.kill();
    scene.say("PostgreSQL is killed");
    await scene.recovered("kill", killedMs);
    await scene.watch(MINED_MS);
    const paused = await recorded(scene);
    await scene.watch(DOWN_MS - MINED_MS);
    const during = await recorded(scene);
    const upMs = performance.now();
    scene.figures["decided while down"] = scene.decidedBetween(killedMs, upMs);
    scene.figures["recorded on the chain while down"] = during - paused;
    scene.expect(scene.decidedBetween(killedMs, upMs) > 0, "no votes were decided meanwhile");
    scene.expect(
      during === paused,
      `${during - paused} were sent although nothing could be stored`,
    );
    await postgres.restart();
    scene.recovery["restart, PostgreSQL answers"] = Math.round(performance.now() - upMs);
    scene.say("PostgreSQL is back");
    for (const app of scene.rig.submitters) if (!app.running) await app.launch();
    const resumed = await firstRecorded(scene, during, upMs);
    scene.expect(resumed !== null, "submissions did not resume within a minute");
    if (resumed !== null) scene.recovery["restart, first on the chain"] = resumed;
    await scene.recovered("restart", upMs, "confirmed");
  },
};

const recorded = async ({ rig }: Scene): Promise<number> =>
  (await readLogs({ rpcUrl: rig.servers.anvil.rpcUrl, contract: rig.contract })).length;

async function firstRecorded(
  scene: Scene,
  before: number,
  sinceMs: number,
): Promise<number | null> {
  for (let tries = 0; tries < 300; tries++) {
    if ((await recorded(scene)) > before) return Math.round(performance.now() - sinceMs);
    await scene.watch(200);
  }
  return null;
}
