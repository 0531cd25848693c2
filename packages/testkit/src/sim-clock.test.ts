import { describe, expect, it } from "vitest";
import { SimClock } from "./sim-clock.ts";

describe("SimClock", () => {
  it("stands still until it is advanced", async () => {
    const clock = new SimClock({ startMs: 1_000 });
    let fired = false;
    clock.schedule(10, () => {
      fired = true;
    });
    await clock.advance(9);
    expect([clock.nowMs(), clock.monotonicMs(), fired]).toEqual([1_009, 9, false]);
    await clock.advance(1);
    expect([clock.nowMs(), fired]).toEqual([1_010, true]);
  });

  it("fires in the order of due times, then of arming, each at its own time", async () => {
    const clock = new SimClock({ startMs: 0 });
    const log: string[] = [];
    const note = (name: string) => () => void log.push(`${name}@${clock.nowMs()}`);
    clock.schedule(20, note("late"));
    clock.schedule(10, note("first"));
    clock.schedule(10, note("second"));
    await clock.advance(100);
    expect(log).toEqual(["first@10", "second@10", "late@20"]);
    expect(clock.nowMs()).toBe(100);
  });

  it("fires timers that a woken task arms inside the same advance", async () => {
    const clock = new SimClock({ startMs: 0 });
    const wokenAtMs: number[] = [];
    const loop = (async () => {
      for (let i = 0; i < 3; i++) {
        await clock.sleep(10);
        wokenAtMs.push(clock.nowMs());
      }
    })();
    await clock.advance(30);
    await loop;
    expect(wokenAtMs).toEqual([10, 20, 30]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("rejects a sleep with the signal's reason, before or during it, and disarms its timer", async () => {
    const clock = new SimClock();
    const reason = new Error("enough");
    await expect(clock.sleep(5, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const abort = new AbortController();
    const sleeping = clock.sleep(5, { signal: abort.signal });
    expect(clock.untilNextMs).toBe(5);
    abort.abort(reason);
    await expect(sleeping).rejects.toBe(reason);
    expect([clock.pendingTimers, clock.untilNextMs]).toEqual([0, null]);
  });

  it("does not fire what was cancelled, and cancelling twice is harmless", async () => {
    const clock = new SimClock();
    let fired = 0;
    const cancel = clock.schedule(1, () => fired++);
    clock.schedule(2, () => fired++);
    cancel();
    cancel();
    await clock.advance(10);
    expect(fired).toBe(1);
  });

  it("moves the wall clock alone when it jumps", () => {
    const clock = new SimClock({ startMs: 5_000 });
    clock.jump(-2_000);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([3_000, 0]);
  });

  it("passes on what a callback throws, and refuses two advances at once", async () => {
    const clock = new SimClock();
    clock.schedule(1, () => {
      throw new Error("from the callback");
    });
    const first = clock.advance(5);
    await expect(clock.advance(5)).rejects.toThrow("one advance at a time");
    await expect(first).rejects.toThrow("from the callback");
    await clock.advance(5);
    expect(clock.monotonicMs()).toBe(6);
  });
});
