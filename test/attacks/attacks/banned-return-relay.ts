import { ATTACKER, type Attack } from "../lib/attack.ts";
import { EvilPeer } from "../lib/attacker.ts";
import { strangerIdentity } from "../lib/identity.ts";

const TIMEOUT_MS = 4_000;

export const bannedReturnRelay: Attack = {
  name: "banned-return-relay",
  does: "a banned trustee comes over a stranger's relay, and has a stranger publish its messages",
  expects:
    "refused at the relayed handshake, where a stranger is not; its messages are ignored, whoever brings them",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "DOUBLE_VOTING" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { key } = await stage.getBanned();
    const relayKey = strangerIdentity("relay");
    const relay = await EvilPeer.open(stage.attacker, {
      name: relayKey.name,
      seed: relayKey.seed,
      listen: ["/ip4/127.0.0.1/tcp/0"],
      relay: true,
    });
    await relay.connect(
      stage.honest.map((node) => stage.addressOf(node)),
      [stage.topic],
    );
    const over = async (peer: EvilPeer, target: string) =>
      stage.attacker.call("relay-return", {
        relay: relay.name,
        relayAddress: relay.addresses[0] ?? "",
        peer: peer.name,
        target,
        timeoutMs: TIMEOUT_MS,
      });
    const banned = await EvilPeer.open(stage.attacker, {
      name: "banned",
      seed: key.seed,
      relay: true,
    });
    // The way is open to whoever is not banned, or its being closed would say nothing.
    const control = strangerIdentity("control");
    const free = await EvilPeer.open(stage.attacker, {
      name: "control",
      seed: control.seed,
      relay: true,
    });
    for (const node of stage.honest) {
      const target = stage.peerIdOf(node.name);
      const allowed = await over(free, target);
      stage.check(allowed.connected, `the relay does not lead to ${node.name}: ${allowed.detail}`);
      const refused = await over(banned, target);
      stage.check(!refused.connected, `${node.name} let the banned trustee in over a relay`);
      stage.say(`${node.name}: ${refused.detail}`);
    }
    const txId = `${stage.target}-relayed`;
    const data = stage.frame(key, { txId, value: "9" });
    const brought = await relay.publish([stage.envelop(key, data)]);
    stage.check(brought.sent === stage.honest.length, "the stranger could not bring the message");
    await stage.turnedAway(stage.honest.length, "author_banned");
    const votes = await stage.etcd.under(`votes/${txId}/`);
    stage.check(votes.size === 0, "a message of a banned trustee was recorded");
    await stage.round();
  },
};
