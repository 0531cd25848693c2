import { ATTACKER, type Attack } from "../lib/attack.ts";
import { EvilPeer } from "../lib/attacker.ts";

const ELSEWHERE = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.2/tcp/0", "/ip4/127.0.0.3/tcp/0"];

export const bannedReturnAddress: Attack = {
  name: "banned-return-address",
  does: "a banned trustee comes back with other addresses and ports, several times at once",
  expects: "its key is what is banned, not its address: no node lets it in",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "DOUBLE_VOTING" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { key } = await stage.getBanned();
    for (const [i, listen] of ELSEWHERE.entries()) {
      const name = `moved-${i}`;
      const peer = await EvilPeer.open(stage.attacker, { name, seed: key.seed, listen: [listen] });
      const addresses = stage.honest.map((node) => stage.addressOf(node));
      const outcomes = await peer.connect(addresses, [stage.topic], 2_000);
      for (const { address, admitted } of outcomes)
        stage.check(!admitted, `${address} let the banned trustee in from ${listen}`);
      await stage.voteIsNotTaken(peer, key);
    }
    await stage.round();
  },
};
