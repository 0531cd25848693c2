import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryLogger, memoryMetrics, SimClock } from "@quorate/testkit";
import { beforeEach, expect, test } from "vitest";
import { type DiskSpace, DiskWatch } from "./disk-space.ts";

let metrics: ReturnType<typeof memoryMetrics>;
let clock: SimClock;
const logger = memoryLogger();
const free = (): number | null => metrics.value("disk_free_bytes", { volume: "journal" });
const size = (): number | null => metrics.value("disk_size_bytes", { volume: "journal" });

function watchOf(directory: string, read?: (directory: string) => Promise<DiskSpace>): DiskWatch {
  return new DiskWatch(
    { directories: new Map([["journal", directory]]) },
    { clock, logger, metrics, ...(read === undefined ? {} : { read }) },
  );
}

beforeEach(() => {
  metrics = memoryMetrics();
  clock = new SimClock();
});

test("the room on a disk is the operating system's own figure", async () => {
  const directory = await mkdtemp(join(tmpdir(), "quorate-disk-"));
  const watch = watchOf(directory);
  expect(free()).toBeNaN();
  await watch.look();
  expect(free()).toBeGreaterThan(0);
  expect(size()).toBeGreaterThanOrEqual(free() ?? Number.NaN);
  await rm(directory, { recursive: true });
  await watch.look();
  expect(free()).toBeNaN();
  expect(size()).toBeNaN();
});

test("a disk that hangs is unknown, not full, and is asked once and not again and again", async () => {
  const answer = Promise.withResolvers<DiskSpace>();
  let asked = 0;
  const watch = watchOf("/data", async () => {
    asked += 1;
    return asked === 1 ? { freeBytes: 5, sizeBytes: 10 } : await answer.promise;
  });
  await watch.look();
  expect([free(), size()]).toEqual([5, 10]);
  const hanging = watch.look();
  await clock.advance(5_000);
  await hanging;
  expect(free()).toBeNaN();
  await watch.look();
  expect(asked).toBe(2);
  answer.resolve({ freeBytes: 4, sizeBytes: 10 });
  await clock.advance(1);
  await watch.look();
  expect([asked, free()]).toEqual([3, 4]);
});

test("the watch ends when it is told to", async () => {
  const stop = new AbortController();
  const running = watchOf("/data", async () => ({ freeBytes: 1, sizeBytes: 2 })).run(stop);
  await clock.advance(40_000);
  stop.abort();
  await running;
  expect(free()).toBe(1);
});
