import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  DEFAULT_PROTOCOL_CONFIG,
  type DecideContext,
  decide,
  emptySnapshot,
  hexToBytes,
  parseTxId,
  parseValue,
  signFrame,
  type TxId,
  unwrap,
  type VerifiedVote,
  verifyFrame,
} from "@quorate/core";
import { createEd25519, createVoteSigner } from "@quorate/crypto-sodium";
import type { LocalCluster } from "@quorate/localcluster";
import type { TallyStore } from "@quorate/ports";

const VOTES_PER_FRAME = 64;
/** Transactions in one commit call, as a node under load commits them. */
const COMMIT_BATCH = 56;
const SEVEN = unwrap(parseValue(7n));

/** Decides transactions as trustees would: all of them vote 7, and the votes are committed through `decide` with all guards. */
export interface Decider {
  /** Resolves when etcd says THRESHOLD_REACHED of each. */
  decideAll(names: readonly string[]): Promise<void>;
}

/** Signs with the keys that the cluster's trustees were given; their nodes do not run. */
export async function makeDecider(cluster: LocalCluster, store: TallyStore): Promise<Decider> {
  const { set, directory } = cluster;
  const ed25519 = createEd25519();
  const signers = set.trustees.map(({ nodeId }) => {
    const seed = readFileSync(join(directory, nodeId, "node.key"), "utf8").trim();
    return { nodeId, signer: createVoteSigner(hexToBytes(seed)) };
  });
  const { epochVersion } = await store.readConfig();
  const context: DecideContext = {
    set,
    config: DEFAULT_PROTOCOL_CONFIG,
    bans: new Map(),
    silenceStreaks: new Map(),
    verify: () => {
      throw new Error("all trustees agree here, so nobody is accused");
    },
  };
  const votesOn = (txIds: readonly TxId[]): ReadonlyMap<TxId, readonly VerifiedVote[]> => {
    const byTx = new Map<TxId, VerifiedVote[]>(txIds.map((txId) => [txId, []]));
    for (const { nodeId, signer } of signers)
      for (let at = 0; at < txIds.length; at += VOTES_PER_FRAME) {
        const votes = txIds.slice(at, at + VOTES_PER_FRAME).map((txId) => ({
          clusterId: set.clusterId,
          epoch: set.epoch,
          txId,
          value: SEVEN,
          nodeId,
          issuedAtMs: Date.now(),
        }));
        const frame = signFrame(votes, (message) => signer.sign(message));
        const verified = verifyFrame(frame, set, (key, message, signature) =>
          ed25519.verify(key, message, signature),
        );
        for (const vote of unwrap(verified)) byTx.get(vote.vote.txId)?.push(vote);
      }
    return byTx;
  };
  return {
    decideAll: async (names) => {
      const txIds = names.map((name) => unwrap(parseTxId(name)));
      for (let at = 0; at < txIds.length; at += COMMIT_BATCH) {
        const batch = txIds.slice(at, at + COMMIT_BATCH);
        const votes = votesOn(batch);
        const commits = batch.map((txId) => {
          const input = {
            votes: votes.get(txId) ?? [],
            nowMs: Date.now(),
            deadlinePassed: false,
          };
          const { writes } = decide(emptySnapshot(txId), input, context);
          if (writes === null) throw new Error(`nothing was decided of ${txId}`);
          return { version: 0n, writes };
        });
        const outcomes = await store.commit(commits, epochVersion);
        const lost = outcomes.find(({ kind }) => kind !== "committed");
        if (lost !== undefined) throw new Error(`a commit of fresh votes came to ${lost.kind}`);
      }
    },
  };
}
