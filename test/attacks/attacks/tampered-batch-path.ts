import {
  decodeFrame,
  encodeFrame,
  encodeVote,
  onlySet,
  peerIdBytesOf,
  verifyEvidence,
} from "@quorate/core";
import { createEd25519 } from "@quorate/crypto-sodium";
import { ATTACKER, type Attack } from "../lib/attack.ts";
import { voteOf } from "../lib/identity.ts";

const VICTIM = "trustee-1";
const BATCH = 8;

export const tamperedBatchPath: Attack = {
  name: "tampered-batch-path",
  does: `a trustee takes a batch that ${VICTIM} signed, puts another vote in the place of one, and publishes it`,
  expects: "the root no longer fits the signature: the publisher is banned, the signer is not",
  reaction: { kind: "ban", nodeId: ATTACKER, reason: "INVALID_SIGNATURE" },
  sharesCluster: false,
  short: false,
  run: async (stage) => {
    const { target } = stage;
    await stage.round();
    const { key, peer } = await stage.joinAsTrustee();
    const victim = await stage.key(VICTIM);
    const batch = stage.frame(
      victim,
      ...Array.from({ length: BATCH }, (_, i) => ({ txId: `${target}-${i}`, value: "7" })),
    );
    const frame = decodeFrame(batch);
    if (!frame.ok) throw new Error(frame.error.message);
    const forged = encodeVote(
      voteOf({
        txId: `${target}-3`,
        value: "9",
        nodeId: VICTIM,
        clusterId: stage.cluster.clusterId,
        epoch: stage.cluster.set.epoch,
      }),
    );
    const leaves = frame.value.leaves.map((leaf, i) => (i === 3 ? forged : leaf));
    const data = encodeFrame({ ...frame.value, leaves });
    stage.published(await peer.publish([stage.envelop(key, data)]));
    await stage.banned(ATTACKER, "INVALID_SIGNATURE");
    await stage.cutOff(peer);
    for (let i = 0; i < BATCH; i++) {
      const votes = await stage.etcd.under(`votes/${target}-${i}/`);
      stage.check(votes.size === 0, "a vote of a tampered batch was recorded");
    }
    // Evidence against the signer, made of the same bytes, must not hold.
    const evidence = (await stage.violationsOf(ATTACKER)).get("INVALID_SIGNATURE")?.evidence;
    if (evidence?.type !== "INVALID_SIGNATURE") throw new Error("no evidence is stored");
    const from = Buffer.from(peerIdBytesOf(victim.publicKey)).toString("base64");
    const ed25519 = createEd25519();
    const framed = verifyEvidence(
      { ...evidence, envelope: { ...evidence.envelope, from } },
      onlySet(stage.cluster.set),
      (publicKey, message, signature) => ed25519.verify(publicKey, message, signature),
    );
    stage.check(!framed.ok, `${VICTIM} can be framed with what the attacker signed`);
    await stage.round();
  },
};
