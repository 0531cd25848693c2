import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { peerIdFromString } from "@libp2p/peer-id";
import { multiaddr } from "@multiformats/multiaddr";
import { hexToBytes } from "@quorate/core";
import { createVoteSigner } from "@quorate/crypto-sodium";
import type {
  AttackerAnswers,
  AttackerCommand,
  AttackerReply,
  AttackerRequest,
} from "./attacker-protocol.ts";
import { arm, fire, unknownAuthors } from "./flood.ts";
import { pause, RawPeer } from "./raw-peer.ts";
import { framed, toJson } from "./wire.ts";

/**
 * The attacker's program: any number of identities on real libp2p, which do as they are told.
 * Requests come as JSON lines on stdin, each is answered with one on stdout; it ends with its stdin.
 */

const peers = new Map<string, RawPeer>();
const swarm: RawPeer[] = [];
const armed = new Map<string, readonly Uint8Array[]>();
/** Identities that the swarm opens at once: more would only wait for each other. */
const SWARM_PARALLEL = 10;
const SWARM_CONNECT_MS = 2_000;

function peerOf(name: string): RawPeer {
  const peer = peers.get(name);
  if (peer === undefined) throw new Error(`no peer ${name} is open`);
  return peer;
}

const bytesOf = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, "base64"));

async function perform(command: AttackerCommand): Promise<AttackerAnswers[keyof AttackerAnswers]> {
  switch (command.do) {
    case "open": {
      await peers.get(command.peer)?.close();
      const { listen, relay } = command;
      const peer = await RawPeer.open({ seed: hexToBytes(command.seedHex), listen, relay });
      peers.set(command.peer, peer);
      return { peerId: peer.node.peerId.toString(), addresses: peer.addresses };
    }
    case "connect": {
      const peer = peerOf(command.peer);
      const outcomes = await Promise.all(
        command.addresses.map((a) => peer.connect(a, command.topics, command.timeoutMs)),
      );
      return { outcomes };
    }
    case "send": {
      const peer = peerOf(command.peer);
      const atMs = Date.now();
      let sent = 0;
      for (const rpc of command.rpcs)
        sent = Math.max(sent, peer.write(command.to, framed(bytesOf(rpc))));
      if (command.raw !== undefined) sent = peer.write(command.to, bytesOf(command.raw));
      return { sent, atMs };
    }
    case "arm": {
      const signer = createVoteSigner(hexToBytes(command.seedHex));
      const rpcs = arm(signer, command);
      armed.set(command.peer, rpcs);
      return { armed: command.count };
    }
    case "fire":
      return fire(
        peerOf(command.peer),
        armed.get(command.peer) ?? [],
        command,
        (peer) => void swarm.push(peer),
      );
    case "authors":
      return unknownAuthors(peerOf(command.peer), command.topic, command.count);
    case "swarm":
      return runSwarm(command);
    case "heard":
      return { messages: peerOf(command.peer).heard.map(toJson) };
    case "links":
      return { admitted: peerOf(command.peer).admitted };
    case "relay-return":
      return relayReturn(command);
    case "close": {
      const peer = peerOf(command.peer);
      peers.delete(command.peer);
      await peer.close();
      return { closed: true };
    }
    case "reset":
      await closeAll();
      return { closed: true };
    default:
      return command satisfies never;
  }
}

async function closeAll(): Promise<void> {
  const all = [...peers.values(), ...swarm];
  peers.clear();
  armed.clear();
  swarm.length = 0;
  await Promise.allSettled(all.map((peer) => peer.close()));
}

async function runSwarm(
  command: Extract<AttackerCommand, { do: "swarm" }>,
): Promise<AttackerAnswers["swarm"]> {
  let connected = 0;
  let refused = 0;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < command.count) {
      next++;
      const peer = await RawPeer.open({ seed: randomBytes(32), listen: [], relay: false });
      swarm.push(peer);
      for (const address of command.addresses) {
        const { admitted } = await peer.connect(address, [command.topic], SWARM_CONNECT_MS);
        if (admitted) connected++;
        else refused++;
      }
    }
  };
  await Promise.all(Array.from({ length: SWARM_PARALLEL }, worker));
  const stillConnected = swarm.reduce((sum, peer) => sum + peer.admitted.length, 0);
  return { connected, refused, stillConnected };
}

/** A peer dials a target through a relay of ours that pretends the target had asked for it. */
async function relayReturn(
  command: Extract<AttackerCommand, { do: "relay-return" }>,
): Promise<AttackerAnswers["relay-return"]> {
  const relay = peerOf(command.relay);
  const peer = peerOf(command.peer);
  relay.reserveFor(peerIdFromString(command.target));
  const address = multiaddr(`${command.relayAddress}/p2p-circuit/p2p/${command.target}`);
  try {
    const signal = AbortSignal.timeout(command.timeoutMs);
    const connection = await peer.node.dial(address, { signal });
    // A refusal after the handshake closes it again at once.
    await pause(300);
    const connected = connection.status === "open";
    return { connected, detail: connected ? "connected over the relay" : "closed again" };
  } catch (error) {
    const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return { connected: false, detail };
  }
}

const say = (reply: AttackerReply): void => {
  process.stdout.write(`${JSON.stringify(reply)}\n`);
};

async function answer(request: AttackerRequest): Promise<void> {
  try {
    say({ id: request.id, answer: await perform(request) });
  } catch (error) {
    say({ id: request.id, failed: error instanceof Error ? error.message : String(error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const request: AttackerRequest = JSON.parse(line);
  // Not awaited: a flood goes on while other commands are carried out.
  void answer(request);
}
await closeAll();
process.exit(0);
