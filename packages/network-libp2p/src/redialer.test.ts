import type { PeerId } from "@quorate/core";
import type { Clock } from "@quorate/ports";
import { describe, expect, it } from "vitest";
import { peerIdFromSeed } from "./identity.ts";
import { Redialer } from "./redialer.ts";
import { recordingLogger, seedOf } from "./test-kit.ts";

/** Time that only moves when told. */
class ManualClock implements Clock {
  #nowMs = 0;
  #timers: { readonly atMs: number; readonly run: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }
  monotonicMs(): number {
    return this.#nowMs;
  }
  sleep(): Promise<void> {
    throw new Error("not used here");
  }
  schedule(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, run: callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }
  /** Runs the next timer and lets its promises settle; gives the time it waited, or null without one. */
  async next(): Promise<number | null> {
    const timer = this.#timers.sort((a, b) => a.atMs - b.atMs).shift();
    if (timer === undefined) return null;
    const waitedMs = timer.atMs - this.#nowMs;
    this.#nowMs = timer.atMs;
    timer.run();
    await new Promise((resolve) => setImmediate(resolve));
    return waitedMs;
  }
  advance(ms: number): void {
    this.#nowMs += ms;
  }
}

const peer = peerIdFromSeed(seedOf(1));

function setUp(dial: () => Promise<unknown> = () => Promise.reject(new Error("down"))) {
  const clock = new ManualClock();
  const dialled: PeerId[] = [];
  const state = { connected: false, banned: false };
  const redialer = new Redialer(
    { firstMs: 100, maxMs: 1_000 },
    {
      clock,
      // The longest pauses: next() at its upper end.
      random: { next: () => 1, bytes: (length) => new Uint8Array(length) },
      logger: recordingLogger(),
      dial: (one) => {
        dialled.push(one);
        return dial();
      },
      isConnected: () => state.connected,
      isBanned: () => state.banned,
    },
  );
  redialer.setTargets(new Map([[peer, []]]));
  redialer.start();
  return { clock, dialled, state, redialer };
}

describe("re-dialling", () => {
  it("never gives up, with pauses that double up to their limit", async () => {
    const { clock, dialled } = setUp();
    const waits: (number | null)[] = [];
    for (let i = 0; i < 8; i++) waits.push(await clock.next());
    expect(waits).toEqual([0, 200, 400, 800, 1_000, 1_000, 1_000, 1_000]);
    expect(dialled).toHaveLength(8);
  });

  it("begins with a short pause again after a connection that lasted", async () => {
    const { clock, redialer, state } = setUp();
    for (let i = 0; i < 5; i++) await clock.next();
    state.connected = true;
    redialer.onConnect(peer);
    expect(await clock.next()).toBeNull();
    clock.advance(60_000);
    state.connected = false;
    redialer.onDisconnect(peer);
    expect(await clock.next()).toBe(100);
  });

  it("keeps backing off from a peer that accepts and hangs up at once", async () => {
    const { clock, redialer } = setUp(() => Promise.resolve());
    const waits: (number | null)[] = [];
    for (let i = 0; i < 6; i++) {
      waits.push(await clock.next());
      redialer.onConnect(peer);
      redialer.onDisconnect(peer);
    }
    expect(waits[0]).toBe(0);
    expect(waits.at(-1)).toBe(1_000);
  });

  it("leaves a banned peer alone until it is nudged", async () => {
    const { clock, dialled, redialer, state } = setUp();
    state.banned = true;
    expect(await clock.next()).toBe(0);
    expect(dialled).toEqual([]);
    expect(await clock.next()).toBeNull();
    state.banned = false;
    redialer.nudge(peer);
    expect(await clock.next()).toBe(0);
    expect(dialled).toEqual([peer]);
  });

  it("ends when stopped, and for a peer that is no longer wanted", async () => {
    const one = setUp();
    one.redialer.stop();
    expect(await one.clock.next()).toBeNull();
    const two = setUp();
    two.redialer.setTargets(new Map());
    expect(await two.clock.next()).toBeNull();
  });
});
