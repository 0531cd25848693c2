import { expect, test } from "vitest";
import { systemClock } from "./system-clock.ts";

test("wall time is the machine's and monotonic time never goes back", () => {
  const clock = systemClock();
  const before = Date.now();
  expect(clock.nowMs()).toBeGreaterThanOrEqual(before);
  expect(clock.nowMs()).toBeLessThanOrEqual(Date.now());
  const first = clock.monotonicMs();
  expect(clock.monotonicMs()).toBeGreaterThanOrEqual(first);
});

test("a sleep lasts at least as long as asked", async () => {
  const clock = systemClock();
  const start = clock.monotonicMs();
  await clock.sleep(20);
  expect(clock.monotonicMs() - start).toBeGreaterThanOrEqual(20);
});

test("an aborted sleep rejects at once with the signal's own reason", async () => {
  const reason = new Error("stopping");
  const controller = new AbortController();
  const slept = systemClock().sleep(3_600_000, { signal: controller.signal });
  controller.abort(reason);
  await expect(slept).rejects.toBe(reason);
  await expect(systemClock().sleep(0, { signal: controller.signal })).rejects.toBe(reason);
});

test("a scheduled callback runs once, not early, and not at all when cancelled", async () => {
  const clock = systemClock();
  const ran: string[] = [];
  const start = clock.monotonicMs();
  const cancel = clock.schedule(5, () => ran.push("cancelled"));
  const { promise, resolve } = Promise.withResolvers<number>();
  clock.schedule(15, () => {
    ran.push("kept");
    resolve(clock.monotonicMs());
  });
  cancel();
  expect((await promise) - start).toBeGreaterThanOrEqual(15);
  expect(ran).toEqual(["kept"]);
});

test("a wait longer than Node's longest timer neither ends at once nor overflows the timer", async () => {
  const clock = systemClock();
  const warnings: string[] = [];
  const onWarning = (warning: Error): void => {
    warnings.push(warning.name);
  };
  process.on("warning", onWarning);
  const ended: string[] = [];
  const controller = new AbortController();
  const longMs = 2 ** 31 + 1_000;
  const slept = clock.sleep(longMs, { signal: controller.signal }).then(
    () => ended.push("slept"),
    () => ended.push("aborted"),
  );
  const cancel = clock.schedule(longMs, () => ended.push("fired"));
  // An overflown timer fires after 1 ms.
  await clock.sleep(20);
  controller.abort();
  cancel();
  await slept;
  process.off("warning", onWarning);
  expect(ended).toEqual(["aborted"]);
  expect(warnings).toEqual([]);
});

test("a duration that is no number is a bug", async () => {
  await expect(systemClock().sleep(Number.NaN)).rejects.toThrow("finite");
  expect(() => systemClock().schedule(Number.POSITIVE_INFINITY, () => {})).toThrow("finite");
});
