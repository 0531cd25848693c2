import { ATTACKER, type Attack } from "../lib/attack.ts";
import { EvilPeer } from "../lib/attacker.ts";

const RESTARTED = "trustee-4";

export const bannedReturnRestart: Attack = {
  name: "banned-return-restart",
  does: "a banned trustee restarts, and tries again and again at a node that is just starting",
  expects:
    "no node lets it in, the starting one neither: it knows the bans before it opens its port",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "DOUBLE_VOTING" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { key } = await stage.getBanned();
    const again = await EvilPeer.open(stage.attacker, { name: "again", seed: key.seed });
    const addresses = stage.honest.map((node) => stage.addressOf(node));
    const outcomes = await again.connect(addresses, [stage.topic], 2_000);
    for (const { address, admitted } of outcomes)
      stage.check(!admitted, `${address} let the banned trustee in again`);
    const node = stage.node(RESTARTED);
    await node.stop();
    let attempts = 0;
    let letIn = 0;
    let starting = true;
    const knocking = (async () => {
      while (starting) {
        const [outcome] = await again.connect([stage.addressOf(node)], [stage.topic], 500);
        attempts++;
        if (outcome?.admitted === true) letIn++;
      }
    })();
    await node.start();
    starting = false;
    await knocking;
    stage.figures["attemptsWhileStarting"] = attempts;
    stage.check(attempts > 0, "nothing was tried while the node started");
    stage.check(letIn === 0, `a starting node let the banned trustee in ${letIn} times`);
    await stage.voteIsNotTaken(again, key);
    await stage.round();
  },
};
