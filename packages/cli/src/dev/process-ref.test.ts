import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { isAlive, processRef, signalProcess, startTimeInStat } from "./process-ref.ts";

test("a process is told from another one that has its number", async () => {
  const self = await processRef(process.pid);
  if (self === null) throw new Error("this process does not run");
  expect(await isAlive(self)).toBe(true);
  const predecessor = { ...self, startedAt: "1" };
  expect(await isAlive(predecessor)).toBe(false);
  // Would end this very test if only the number counted.
  expect(await signalProcess(predecessor, "SIGKILL")).toBe(false);
});

test("a signal reaches the process that is meant, and an ended one is gone", async () => {
  const child = spawn("sleep", ["60"]);
  await once(child, "spawn");
  const ref = await processRef(child.pid ?? -1);
  if (ref === null) throw new Error("the child does not run");
  const exited = once(child, "exit");
  expect(await signalProcess(ref, "SIGTERM")).toBe(true);
  await exited;
  expect(await isAlive(ref)).toBe(false);
  expect(await signalProcess(ref, "SIGTERM")).toBe(false);
});

test("the start time is read past a name with spaces and brackets; a zombie does not run", () => {
  const after = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
  expect(startTimeInStat(`42 (a) b (c)) S ${after}`)).toBe("777");
  expect(startTimeInStat(`42 (node) Z ${after}`)).toBeNull();
});
