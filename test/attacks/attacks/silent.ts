import { waitUntil } from "@quorate/devkit";
import { ATTACKER, type Attack } from "../lib/attack.ts";

const DEADLINE_MS = 1_500;
const JUDGED_TIMEOUT_MS = 15_000;

export const silent: Attack = {
  name: "silent",
  does: "a trustee votes on nothing, three transactions in a row (profile balanced)",
  expects: "recorded at each deadline, banned at the third; every transaction goes on without it",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "SILENT_FAILURE" },
  protocol: { deadlineMs: DEADLINE_MS, profile: "balanced", silenceStreakMax: 3 },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    for (let i = 1; i <= 3; i++) {
      const txId = `${stage.target}-${i}`;
      if (i === 3) stage.published({ atMs: Date.now() + DEADLINE_MS, sent: 1 });
      await stage.traffic.cast(txId, "7", stage.honest);
      await stage.traffic.reached(stage.node("trustee-1"), txId);
      await waitUntil(
        async () => {
          const violations = await stage.etcd.under(`violations/${txId}/`);
          return violations.has(`${stage.peerIdOf(ATTACKER)}/SILENT_FAILURE`);
        },
        { timeoutMs: JUDGED_TIMEOUT_MS, what: `the silence on ${txId}` },
      );
      if (i < 3)
        stage.check((await stage.etcd.bans()).size === 0, `banned after ${i} silences already`);
    }
    await stage.banned(ATTACKER, "SILENT_FAILURE");
    await stage.round();
  },
};
