import type { Row } from "../lib/row.ts";

const DOWN_MS = 6_000;

/** N = 5 and t = 3: two may be absent. */
export const nodeCrash: Row = {
  name: "node-crash",
  title: "Node Crash",
  injects: "SIGKILL of f = N - t = 2 of 5 nodes at once, for 6 s; then they start again",
  expects: "the other 3 (t = 3) go on; the 2 come back and vote on what they missed",
  trustees: 5,
  threshold: 3,
  run: async (scene) => {
    const victims = [scene.node(4), scene.node(5)];
    const killedMs = performance.now();
    await Promise.all(victims.map((node) => node.kill()));
    scene.say("nodes 4 and 5 are killed");
    await scene.recovered("kill", killedMs);
    await scene.watch(DOWN_MS);
    const upMs = performance.now();
    scene.figures["decided while down"] = scene.decidedBetween(killedMs, upMs);
    scene.figures["longest gap, ms"] = scene.longestGap(killedMs, upMs);
    scene.expect(scene.decidedBetween(killedMs, upMs) > 0, "nothing was decided while 2 were down");
    for (const node of victims) await node.launch();
    await Promise.all(victims.map((node) => node.ready()));
    const readyMs = performance.now();
    scene.recovery["start, both ready"] = Math.round(readyMs - upMs);
    await scene.watch(2_000);
    // What they were asked for while they were down, and what came since, has their votes.
    const both = await scene.progress.until(
      () => {
        const before = scene.load.offered.filter(({ intendedMs }) => intendedMs < readyMs);
        const has = (name: string): boolean =>
          before.every(({ txId }) => scene.load.accepted.has(`${txId}/${name}`));
        return victims.every(({ name }) => has(name)) ? true : null;
      },
      30_000,
      "the votes of those that came back",
    );
    scene.expect(both !== null, "the nodes that came back did not vote on all they missed");
    if (both !== null)
      scene.recovery["start, missed votes recorded"] = Math.round(performance.now() - upMs);
  },
};
