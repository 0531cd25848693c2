import { setMaxListeners } from "node:events";
import { type ClusterId, parseClusterId, unwrap } from "@quorate/core";
import type { Clock, GossipMessage, GossipVerdict, Logger } from "@quorate/ports";
import { createGossip, type Libp2pGossip } from "./libp2p-gossip.ts";
import type { GossipOptions } from "./options.ts";

/** Helpers for this package's tests, on real sockets and the real clock. */

export const CLUSTER: ClusterId = unwrap(parseClusterId("test-cluster"));

export const realClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, options) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      options?.signal?.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(options.signal?.reason);
      });
    }),
  schedule: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

export interface LoggedLine {
  readonly level: "error" | "warn" | "info" | "debug";
  readonly message: string;
  readonly fields: unknown;
}

export function recordingLogger(lines: LoggedLine[] = []): Logger {
  const at = (level: LoggedLine["level"]) => (message: string, fields?: unknown) => {
    lines.push({ level, message, fields });
  };
  const logger: Logger = {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    child: () => logger,
  };
  return logger;
}

/** A signal that fails the test when what it waits for does not come. */
export function deadline(ms = 20_000): AbortSignal {
  const signal = AbortSignal.timeout(ms);
  setMaxListeners(0, signal);
  return signal;
}

export function seedOf(number: number): Uint8Array {
  return new Uint8Array(32).fill(number);
}

/** A seed for one of very many peers. */
export function seedOfSwarm(number: number): Uint8Array {
  const seed = new Uint8Array(32).fill(255);
  new DataView(seed.buffer).setUint32(0, number);
  return seed;
}

export function addressOf(gossip: Libp2pGossip): string {
  const [address] = gossip.status().listening;
  if (address === undefined) throw new Error("the node listens nowhere");
  return address;
}

export interface TestNode {
  readonly gossip: Libp2pGossip;
  readonly received: Received;
  readonly lines: LoggedLine[];
}

/** What a node's validator was shown, with waiting for a particular message. */
export class Received {
  readonly messages: GossipMessage[] = [];
  readonly #waiting = new Set<() => void>();

  add(message: GossipMessage): void {
    this.messages.push(message);
    for (const check of this.#waiting) check();
  }

  has(text: string): boolean {
    return this.messages.some((message) => Buffer.from(message.data).toString() === text);
  }

  /** The first message with this text, now or later. */
  next(text: string, signal = deadline()): Promise<GossipMessage> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const found = this.messages.find((one) => Buffer.from(one.data).toString() === text);
        if (found === undefined) return;
        this.#waiting.delete(check);
        resolve(found);
      };
      this.#waiting.add(check);
      signal.addEventListener("abort", () => reject(new Error(`"${text}" never arrived`)));
      check();
    });
  }
}

const running = new Set<Libp2pGossip>();

/** A node on a free port of the loopback, which accepts all messages; stopped by `stopAll`. */
export function testNode(
  number: number,
  options: Partial<GossipOptions> = {},
  verdict: (message: GossipMessage) => GossipVerdict | Promise<GossipVerdict> = () => "ACCEPT",
): TestNode {
  const lines: LoggedLine[] = [];
  const received = new Received();
  const gossip = createGossip(
    {
      clusterId: CLUSTER,
      privateKeySeed: seedOf(number),
      listen: ["/ip4/127.0.0.1/tcp/0"],
      bootstrap: [],
      ...options,
    },
    { logger: recordingLogger(lines), clock: realClock },
  );
  gossip.setValidator((message) => {
    received.add(message);
    return verdict(message);
  });
  running.add(gossip);
  return { gossip, received, lines };
}

export async function stopAll(): Promise<void> {
  const all = [...running];
  running.clear();
  await Promise.all(all.map((gossip) => gossip.stop()));
}

/** Waits for a condition that has no event of its own, looking often; fails loudly. */
export async function eventually(
  what: string,
  condition: () => boolean,
  signal = deadline(),
): Promise<void> {
  while (!condition()) {
    if (signal.aborted) throw new Error(`never came true: ${what}`);
    await realClock.sleep(20);
  }
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
