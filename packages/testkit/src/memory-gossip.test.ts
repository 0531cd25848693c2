import { envelopeSigningBytes } from "@quorate/core";
import type { GossipMessage } from "@quorate/ports";
import { expect, test } from "vitest";
import { nodeAt, testCluster } from "./builders.ts";
import { type GossipFault, MemoryGossip, MemoryNetwork } from "./memory-gossip.ts";
import { SimClock } from "./sim-clock.ts";

const cluster = testCluster({ trustees: 3, threshold: 2 });

async function network(fault: (call: number) => GossipFault | null = () => null) {
  const clock = new SimClock();
  let calls = 0;
  const net = new MemoryNetwork({ clock }, { fault: () => fault(calls++) });
  const peers = [0, 1, 2].map((i) => new MemoryGossip(nodeAt(cluster, i), net));
  const heard: GossipMessage[][] = peers.map(() => []);
  for (const [i, peer] of peers.entries()) {
    await peer.start();
    peer.setValidator((message) => {
      heard[i]?.push(message);
      return "ACCEPT";
    });
  }
  const [a, b, c] = peers;
  if (a === undefined || b === undefined || c === undefined) throw new Error("three peers");
  return { clock, net, a, b, c, heard };
}

test("a message reaches every other peer once, and its author never", async () => {
  const { clock, a, heard } = await network();
  expect(await a.publish(Uint8Array.of(1))).toEqual({ recipients: 2 });
  await clock.advance(1);
  expect(heard.map((h) => h.length)).toEqual([0, 1, 1]);
});

test("an envelope verifies against its author's key", async () => {
  const { clock, a, heard } = await network();
  await a.publish(Uint8Array.of(1));
  await clock.advance(1);
  const envelope = heard[1]?.[0]?.envelope;
  if (envelope === undefined) throw new Error("a message was heard");
  const { publicKey } = nodeAt(cluster, 0).trustee;
  expect(cluster.verify(publicKey, envelopeSigningBytes(envelope), envelope.signature)).toBe(true);
});

test("a banned peer is neither heard nor reached, until it is let in again", async () => {
  const { clock, a, b, heard } = await network();
  b.ban(a.localPeerId);
  expect(await a.publish(Uint8Array.of(1))).toEqual({ recipients: 1 });
  await clock.advance(1);
  expect(heard.map((h) => h.length)).toEqual([0, 0, 1]);
  b.unban(a.localPeerId);
  await a.publish(Uint8Array.of(2));
  await clock.advance(1);
  expect(heard.map((h) => h.length)).toEqual([0, 1, 2]);
});

test("a ban overtakes what is on its way", async () => {
  const { clock, a, b, heard } = await network(() => ({ delayMs: 10 }));
  await a.publish(Uint8Array.of(1));
  b.ban(a.localPeerId);
  await clock.advance(20);
  expect(heard.map((h) => h.length)).toEqual([0, 0, 1]);
});

test("links drop, delay and repeat as they are told", async () => {
  const { clock, a, heard } = await network((call) =>
    call === 0 ? { drop: true } : { delayMs: 5, repeat: 1 },
  );
  await a.publish(Uint8Array.of(1));
  await clock.advance(4);
  expect(heard.flat()).toHaveLength(0);
  await clock.advance(1);
  expect(heard.map((h) => h.length)).toEqual([0, 0, 2]);
});

test("a forwarded message keeps its author and names its forwarder", async () => {
  const { clock, net, b, heard } = await network();
  const envelope = net.seal(nodeAt(cluster, 0), Uint8Array.of(1));
  b.forward({ author: nodeAt(cluster, 0).peerId, envelope });
  await clock.advance(1);
  expect(heard.map((h) => h.map((m) => [m.author, m.forwarder]))).toEqual([
    [],
    [],
    [[nodeAt(cluster, 0).peerId, b.localPeerId]],
  ]);
});

test("waiting for peers ends when they come, and when it is aborted", async () => {
  const net = new MemoryNetwork({ clock: new SimClock() });
  const [a, b] = [0, 1].map((i) => new MemoryGossip(nodeAt(cluster, i), net));
  if (a === undefined || b === undefined) throw new Error("two peers");
  await a.start();
  const stop = new AbortController();
  const more = a.waitForPeers(2, { signal: stop.signal });
  const one = a.waitForPeers(1);
  await b.start();
  await one;
  stop.abort(new Error("enough"));
  await expect(more).rejects.toThrow("enough");
});
