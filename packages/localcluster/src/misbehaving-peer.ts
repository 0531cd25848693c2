import { createInterface } from "node:readline";
import {
  encodeFrame,
  hexToBytes,
  parseClusterId,
  parseEpoch,
  parseNodeId,
  parseTxId,
  parseValue,
  signFrame,
  unwrap,
  type Vote,
} from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import { createGossip } from "@quorate/network-libp2p";
import { createLogger, systemClock } from "@quorate/telemetry";
import type { PeerCommand, PeerOptions, PeerReport } from "./misbehaving-peer-process.ts";

/**
 * A trustee that does not keep to the rules, as a program: it joins the gossip with a trustee's
 * real key and publishes what it is told to, without a node's own checks. Options, then commands,
 * come as JSON lines on stdin; it answers each with one on stdout and ends with its stdin.
 */

const say = (report: PeerReport): void => {
  process.stdout.write(`${JSON.stringify(report)}\n`);
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function nextLine<T>(): Promise<T | null> {
  const next = await lines.next();
  if (next.done === true) return null;
  const parsed: T = JSON.parse(next.value);
  return parsed;
}

const options = await nextLine<PeerOptions>();
if (options === null) throw new Error("no options given");
const clock = systemClock();
const seed = hexToBytes(options.seedHex);
const signer = createVoteSigner(seed);
const clusterId = unwrap(parseClusterId(options.clusterId));
const nodeId = unwrap(parseNodeId(options.nodeId));
const epoch = unwrap(parseEpoch(options.epoch));
const gossip = createGossip(
  {
    clusterId,
    privateKeySeed: seed,
    listen: ["/ip4/127.0.0.1/tcp/0"],
    bootstrap: options.bootstrap,
  },
  { clock, logger: createLogger({ level: "warn", pretty: false, destination: "stderr" }) },
);
gossip.setValidator(() => "ACCEPT");
await gossip.start();

async function perform(command: PeerCommand): Promise<PeerReport> {
  if (command.do === "join") {
    await gossip.waitForPeers(command.peers, { signal: AbortSignal.timeout(command.timeoutMs) });
    return { done: "join", peers: gossip.status().subscribers.length };
  }
  const vote: Vote = {
    clusterId,
    epoch,
    txId: unwrap(parseTxId(command.txId)),
    value: unwrap(parseValue(command.value)),
    nodeId,
    issuedAtMs: clock.nowMs(),
  };
  const frame = signFrame([vote], (message) => signer.sign(message));
  const signature = Uint8Array.from(frame.signature);
  // One flipped bit: the outer signature, made over these bytes, stays valid and names the author.
  if (command.do === "publish-tampered") signature[0] = (signature[0] ?? 0) ^ 1;
  const { recipients } = await gossip.publish(encodeFrame({ ...frame, signature }));
  return { done: command.do, peers: recipients };
}

say({ done: "start", peers: 0 });
for (;;) {
  const command = await nextLine<PeerCommand>();
  if (command === null) break;
  try {
    say(await perform(command));
  } catch (error) {
    say({ failed: error instanceof Error ? error.message : String(error) });
  }
}
await gossip.stop();
process.exit(0);
