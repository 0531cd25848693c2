import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import {
  addressOf,
  bytes,
  deadline,
  eventually,
  realClock,
  stopAll,
  testNode,
} from "./test-kit.ts";

class PeerProcess {
  readonly #child: ChildProcess;
  readonly #said: Record<string, unknown>[] = [];
  readonly #errors: string[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(options: { number: number; listen: string; bootstrap: readonly string[] }) {
    const script = new URL("test-peer.ts", import.meta.url).pathname;
    this.#child = spawn(process.execPath, ["--conditions=@quorate/source", script], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    if (this.#child.stdout === null || this.#child.stderr === null) throw new Error("no pipes");
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      this.#said.push(JSON.parse(line));
      for (const check of this.#waiting) check();
    });
    this.#child.stderr.on("data", (chunk: Buffer) => this.#errors.push(chunk.toString()));
    this.tell(options);
  }

  tell(command: object): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  /** The first answer with this key, now or later. */
  said(key: string, accept: (value: unknown) => boolean = () => true): Promise<unknown> {
    const signal = deadline(60_000);
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const line = this.#said.find((one) => key in one && accept(one[key]));
        if (line === undefined) return;
        this.#waiting.delete(check);
        resolve(line[key]);
      };
      this.#waiting.add(check);
      signal.addEventListener("abort", () =>
        reject(new Error(`the peer never said ${key}: ${this.#errors.join("")}`)),
      );
      check();
    });
  }

  async stop(): Promise<number | null> {
    const exited = new Promise<number | null>((resolve) => this.#child.once("exit", resolve));
    if (this.#child.exitCode !== null) return this.#child.exitCode;
    this.tell({ do: "stop" });
    return exited;
  }

  kill(): Promise<void> {
    const exited = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return Promise.resolve();
    this.#child.kill("SIGKILL");
    return exited;
  }
}

const processes: PeerProcess[] = [];

async function peer(number: number, bootstrap: readonly string[], listen = "/ip4/127.0.0.1/tcp/0") {
  const started = new PeerProcess({ number, listen, bootstrap });
  processes.push(started);
  return { process: started, address: String(await started.said("address")) };
}

afterEach(async () => {
  await Promise.all(processes.splice(0).map((one) => one.kill()));
  await stopAll();
});

describe("discovery", () => {
  it("five processes that know only the first one's address all find each other", async () => {
    const first = await peer(1, []);
    const before = performance.now();
    const rest = await Promise.all([2, 3, 4, 5].map((number) => peer(number, [first.address])));
    const all = [first, ...rest].map((one) => one.process);
    for (const one of all) one.tell({ do: "wait", peers: 4 });
    expect(await Promise.all(all.map((one) => one.said("peers")))).toEqual([4, 4, 4, 4, 4]);
    const foundMs = performance.now() - before;
    console.log(`five processes found each other ${foundMs.toFixed(0)} ms after their start`);

    // Both ends of a pair dial at once and one connection goes again, with what was on its way over it: a start is no
    // time to count messages.
    await realClock.sleep(2_000);
    const count = 300;
    const start = performance.now();
    for (const one of all) one.tell({ do: "publish", count, bytes: 300 });
    const everything = (received: unknown) => Number(received) >= count * 4;
    await Promise.all(all.map((one) => one.said("received", everything)));
    const perSecond = (count * 5_000) / (performance.now() - start);
    console.log(`five processes: ${perSecond.toFixed(0)} messages a second, each seen by all`);
    expect(await Promise.all(all.map((one) => one.stop()))).toEqual([0, 0, 0, 0, 0]);
  });

  it("twelve nodes on one address all get a mesh", async () => {
    const first = testNode(1);
    await first.gossip.start();
    const bootstrap = [addressOf(first.gossip)];
    const rest = Array.from({ length: 11 }, (_, i) => testNode(i + 2, { bootstrap }));
    await Promise.all(rest.map((node) => node.gossip.start()));
    const all = [first, ...rest];
    await Promise.all(
      all.map((node) => node.gossip.waitForPeers(11, { signal: deadline(60_000) })),
    );
    const signal = deadline(30_000);
    await eventually(
      "every mesh has its lower bound of peers",
      () => all.every((node) => node.gossip.status().mesh.length >= 4),
      signal,
    );
  });
});

describe("reconnection", () => {
  it("peers come back to a bootstrap node that was gone for more than 5 s", async () => {
    const old = await peer(1, []);
    const b = testNode(2, { bootstrap: [old.address] });
    const c = testNode(3, { bootstrap: [old.address] });
    await Promise.all([b.gossip.start(), c.gossip.start()]);
    await b.gossip.waitForPeers(2, { signal: deadline() });
    await c.gossip.waitForPeers(2, { signal: deadline() });
    await old.process.kill();
    await eventually("its loss is seen", () =>
      [b, c].every((node) => node.gossip.status().subscribers.length === 1),
    );
    // The outage itself is what is tested: longer than all of libp2p's own retries at once.
    await realClock.sleep(6_000);
    const again = await peer(1, [], old.address.split("/p2p/")[0]);
    expect(again.address).toBe(old.address);
    await b.gossip.waitForPeers(2, { signal: deadline(30_000) });
    await c.gossip.waitForPeers(2, { signal: deadline(30_000) });
    again.process.tell({ do: "wait", peers: 2 });
    expect(await again.process.said("peers")).toBe(2);
  });

  it("persistent peers find each other again though the bootstrap node is gone for good", async () => {
    const old = await peer(1, []);
    const b = testNode(2, { bootstrap: [old.address] });
    const c = testNode(3, { bootstrap: [old.address] });
    await Promise.all([b.gossip.start(), c.gossip.start()]);
    b.gossip.setPersistentPeers([c.gossip.localPeerId]);
    await b.gossip.waitForPeers(2, { signal: deadline() });
    await c.gossip.waitForPeers(2, { signal: deadline() });
    await old.process.kill();
    c.gossip.ban(b.gossip.localPeerId);
    await eventually("b and c are apart", () => b.gossip.status().connections.length === 0);
    c.gossip.unban(b.gossip.localPeerId);
    await b.gossip.waitForPeers(1, { signal: deadline() });
    await b.gossip.publish(bytes("still here"));
    await c.received.next("still here");
  });
});

describe("relay", () => {
  it("votes reach a node that listens only through a relay", async () => {
    const relay = testNode(1);
    await relay.gossip.start();
    const hidden = testNode(2, {
      listen: [`${addressOf(relay.gossip)}/p2p-circuit`],
      bootstrap: [addressOf(relay.gossip)],
    });
    await hidden.gossip.start();
    await hidden.gossip.waitForPeers(1, { signal: deadline() });
    await eventually("a relayed address", () =>
      hidden.gossip.status().listening.some((address) => address.includes("p2p-circuit")),
    );
    const circuit = hidden.gossip.status().listening.find((one) => one.includes("p2p-circuit"));
    const other = testNode(3, { bootstrap: [circuit ?? ""] });
    await other.gossip.start();
    await other.gossip.waitForPeers(2, { signal: deadline() });
    const relayed = other.gossip
      .status()
      .connections.filter(({ peerId }) => peerId === hidden.gossip.localPeerId);
    expect(relayed.map(({ address }) => address.includes("/p2p-circuit"))).toContain(true);
    await other.gossip.publish(bytes("through the relay"));
    const { author } = await hidden.received.next("through the relay");
    expect(author).toBe(other.gossip.localPeerId);
  });
});
