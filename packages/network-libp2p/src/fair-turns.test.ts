import { expect, test } from "vitest";
import { FairTurns } from "./fair-turns.ts";

/** A clock that only the test moves. */
function handClock(): { nowMs: number; monotonicMs: () => number } {
  const clock = { nowMs: 0, monotonicMs: () => clock.nowMs };
  return clock;
}

/** Whether the event loop turned before the work was done. */
async function turnsDuring(work: () => Promise<void>): Promise<boolean> {
  let turned = false;
  const turn = setImmediate(() => {
    turned = true;
  });
  await work();
  clearImmediate(turn);
  return turned;
}

test("reading goes on without a turn while it has been short", async () => {
  const clock = handClock();
  const turns = new FairTurns(clock);
  clock.nowMs = 4;
  expect(await turnsDuring(() => turns.take())).toBe(false);
});

test("reading that has been long waits for a turn, and then goes on", async () => {
  const clock = handClock();
  const turns = new FairTurns(clock);
  clock.nowMs = 5;
  const timer = turnsDuring(() => turns.take());
  const other = turns.take();
  expect(await timer).toBe(true);
  await other;
  expect(await turnsDuring(() => turns.take())).toBe(false);
});

test("each of several readers waits for a turn of its own", async () => {
  const clock = handClock();
  const turns = new FairTurns(clock);
  clock.nowMs = 5;
  let turnsSeen = 0;
  const count = (): void => {
    turnsSeen++;
    if (turnsSeen < 10) setImmediate(count);
  };
  setImmediate(count);
  const seen: number[] = [];
  const read = async (): Promise<void> => {
    await turns.take();
    seen.push(turnsSeen);
  };
  await Promise.all([read(), read(), read()]);
  expect(new Set(seen).size).toBe(3);
});
