import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

import { stopAll } from "./child-registry.ts";
import { type LoggedProcess, spawnLogged } from "./spawn-logged.ts";
import { waitReady } from "./wait-ready.ts";
import { waitUntil } from "./wait-until.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "quorate-spawn-"));
});

afterEach(async () => {
  await stopAll();
  await rm(directory, { recursive: true, force: true });
});

function shell(script: string): Promise<LoggedProcess> {
  return spawnLogged({
    name: "script",
    command: "/bin/sh",
    args: ["-c", script],
    logFile: join(directory, "script.log"),
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("a server that dies during start-up is reported with the last 20 lines of its log", async () => {
  const server = await shell("i=1; while [ $i -le 30 ]; do echo line $i; i=$((i+1)); done; exit 3");
  const ready = waitReady(server, () => Promise.resolve(false), { name: "it", timeoutMs: 10_000 });
  await expect(ready).rejects.toMatchObject({ code: "SERVER_EXITED", retryable: false });
  const tail = (await server.logTail()).split("\n");
  expect(tail).toHaveLength(20);
  expect([tail[0], tail.at(-1)]).toEqual(["line 11", "line 30"]);
  await expect(ready).rejects.toThrow(/exit code 3.*line 11\n.*line 30$/s);
});

test("a server that answers but has died is not ready", async () => {
  const server = await shell("echo 'listen: address already in use'; exit 1");
  await server.exited;
  const ready = waitReady(server, () => Promise.resolve(true), { name: "it", timeoutMs: 10_000 });
  await expect(ready).rejects.toMatchObject({ code: "PORT_TAKEN", retryable: true });
});

test("the log of an earlier run is not mistaken for this one's", async () => {
  await (await shell("echo old")).exited;
  const second = await shell("echo new");
  await second.exited;
  expect(await second.logTail()).toBe("new");
});

test("a program that does not exist is an error, not a crash", async () => {
  const started = spawnLogged({
    name: "ghost",
    command: join(directory, "ghost"),
    args: [],
    logFile: join(directory, "ghost.log"),
  });
  await expect(started).rejects.toMatchObject({ code: "COMMAND_FAILED" });
});

test("a paused process can be stopped in good order", async () => {
  const server = await shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done");
  await waitUntil(async () => (await server.logTail()) === "up", { timeoutMs: 5_000, what: "up" });
  await server.pause();
  await server.stop();
  expect(server.exit()).toEqual({ code: 5, signal: null });
});

test("stopping and killing what has already ended does nothing", async () => {
  const server = await shell("exit 0");
  await server.exited;
  await server.stop();
  await server.kill();
  expect(server.exit()).toEqual({ code: 0, signal: null });
});

test("children end with their parent even when it is killed outright", async () => {
  const module = JSON.stringify(new URL("./spawn-logged.ts", import.meta.url).href);
  const logFile = JSON.stringify(join(directory, "child.log"));
  const program = `
    const { spawnLogged } = await import(${module});
    const start = () => spawnLogged({ name: "c", command: "sleep", args: ["300"], logFile: ${logFile} });
    const [gone, kept] = [await start(), await start()];
    await gone.kill();
    console.log(kept.pid);
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(
    process.execPath,
    ["--conditions=@quorate/source", "--input-type=module", "--eval", program],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    const childPid = await new Promise<number>((resolve) =>
      parent.stdout.once("data", (line: Buffer) => resolve(Number(line.toString()))),
    );
    expect(isAlive(childPid)).toBe(true);
    parent.kill("SIGKILL");
    await waitUntil(() => !isAlive(childPid), { timeoutMs: 10_000, what: "the child to end" });
  } finally {
    parent.kill("SIGKILL");
  }
});
