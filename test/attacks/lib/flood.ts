import { randomBytes } from "node:crypto";
import {
  encodeFrame,
  hexToBytes,
  LIMITS,
  parseClusterId,
  parseEpoch,
  parseNodeId,
  parseTxId,
  parseValue,
  signFrame,
  unwrap,
} from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import type { AttackerAnswers, AttackerCommand, FloodJunk } from "./attacker-protocol.ts";
import { pause, RawPeer } from "./raw-peer.ts";
import { envelop, framed, messagesRpc, type Signer } from "./wire.ts";

/** Messages in one RPC: a flood need not pay for small writes. */
const PER_RPC = 16;
const TICK_MS = 10;
/** A target that does not read is not waited for, and no more is queued for it: 8 MiB. */
const BACKLOG_BYTES_MAX = 8 * 1_024 * 1_024;
const REJOIN_MS = 1_000;
const STALE_MS = 3_600_000;
const NOISE_BYTES = 200;

/** The RPCs of a flood: each message new and well enveloped. */
export function arm(
  signer: Signer,
  request: { readonly topic: string; readonly count: number; readonly junk: FloodJunk },
): readonly Uint8Array[] {
  const make = junkMaker(request.junk, signer);
  return Array.from({ length: Math.ceil(request.count / PER_RPC) }, () =>
    framed(
      messagesRpc(Array.from({ length: PER_RPC }, () => envelop(signer, request.topic, make()))),
    ),
  );
}

/** Sends them to everybody at a rate. What a target does not take in time is not sent to it. */
export async function fire(
  first: RawPeer,
  rpcs: readonly Uint8Array[],
  request: Omit<Extract<AttackerCommand, { do: "fire" }>, "do">,
  onOpened: (peer: RawPeer) => void,
): Promise<AttackerAnswers["fire"]> {
  const startedMs = performance.now();
  let peer = first;
  let sent = 0;
  let refused = 0;
  let rejoined = 0;
  let rejoining: Promise<void> | null = null;
  for (let next = 0; next < rpcs.length; ) {
    const due = ((performance.now() - startedMs) / 1_000) * (request.perSecond / PER_RPC);
    for (; next < Math.min(due, rpcs.length); next++) {
      const rpc = rpcs[next] ?? new Uint8Array();
      const taken = peer.backlog([]) < BACKLOG_BYTES_MAX ? peer.write([], rpc) : 0;
      if (taken > 0) sent += PER_RPC;
      else refused += PER_RPC;
    }
    if (peer.admitted.length === 0 && rejoining === null)
      rejoining = rejoin(request, onOpened)
        .then((fresh) => {
          peer = fresh;
          rejoined++;
        })
        .catch(() => {})
        .finally(() => {
          rejoining = null;
        });
    await pause(TICK_MS);
  }
  await rejoining;
  return { sent, refused, rejoined, seconds: (performance.now() - startedMs) / 1_000 };
}

async function rejoin(
  request: Omit<Extract<AttackerCommand, { do: "fire" }>, "do">,
  onOpened: (peer: RawPeer) => void,
): Promise<RawPeer> {
  const { rejoinSeedHex: hex, addresses, topic } = request;
  const seed = hex === null ? randomBytes(32) : hexToBytes(hex);
  const peer = await RawPeer.open({ seed, listen: [], relay: false });
  onOpened(peer);
  await Promise.all(addresses.map((address) => peer.connect(address, [topic], REJOIN_MS)));
  return peer;
}

function junkMaker(junk: FloodJunk, signer: Signer): () => Uint8Array {
  if (junk.kind === "noise") return () => randomBytes(NOISE_BYTES);
  const clusterId = unwrap(parseClusterId(junk.clusterId));
  const epoch = unwrap(parseEpoch(junk.epoch));
  const nodeId = unwrap(parseNodeId(junk.nodeId));
  const value = unwrap(parseValue(1n));
  let next = 0;
  const isStale = junk.kind === "stale-votes";
  return () => {
    const votes = Array.from({ length: isStale ? 1 : LIMITS.votesPerFrameMax }, () => ({
      clusterId,
      epoch,
      nodeId,
      value,
      txId: unwrap(parseTxId(`${junk.kind}-${next++}`)),
      issuedAtMs: Date.now() - (isStale ? STALE_MS : 0),
    }));
    return encodeFrame(signFrame(votes, (message) => signer.sign(message)));
  };
}

/** Thousands of authors whom nobody knows, each message well signed by a key of its own. */
export async function unknownAuthors(
  peer: RawPeer,
  topic: string,
  count: number,
): Promise<{ readonly sent: number }> {
  let sent = 0;
  for (let i = 0; i < count; i += PER_RPC) {
    const messages = Array.from({ length: Math.min(PER_RPC, count - i) }, () =>
      envelop(createVoteSigner(randomBytes(32)), topic, randomBytes(NOISE_BYTES)),
    );
    if (peer.write([], framed(messagesRpc(messages))) > 0) sent += messages.length;
    await pause(1);
  }
  return { sent };
}
