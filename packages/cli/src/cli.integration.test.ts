import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isAlive } from "./dev/process-ref.ts";
import { readState } from "./dev/state.ts";

const MAIN = join(import.meta.dirname, "main.ts");

let scratch: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "quorate-cli-"));
});
afterEach(async () => {
  // Whatever a failed test left running.
  await quorate("dev", "down", "--dir", join(scratch, "dev"));
  await rm(scratch, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function quorate(...argv: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--conditions=@quorate/source", MAIN, ...argv], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const text = { stdout: "", stderr: "" };
    child.stdout.on("data", (chunk: Buffer) => {
      text.stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      text.stderr += chunk.toString();
    });
    child.once("close", (code) => resolve({ code, ...text }));
  });
}

describe("quorate cluster create", () => {
  it("makes a cluster with its keys, and never writes over one", async () => {
    const out = join(scratch, "made");
    const create = ["cluster", "create", "--trustees", "3", "--threshold", "2", "--out", out];
    const made = await quorate(...create, "--json");
    expect(made.code, made.stderr).toBe(0);
    expect(JSON.parse(made.stdout)).toMatchObject({ clusterId: "quorate", threshold: 2 });
    expect((await readdir(out)).toSorted()).toEqual([
      "cluster.json",
      "submitter",
      "trustee-1",
      "trustee-2",
      "trustee-3",
    ]);
    const key = (await readFile(join(out, "trustee-1", "node.key"), "utf8")).trim();
    expect(made.stdout + made.stderr).not.toContain(key);

    const again = await quorate(...create);
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toContain(`${out} is not empty`);
    expect((await readFile(join(out, "trustee-1", "node.key"), "utf8")).trim()).toBe(key);
  });

  it("init says which etcd does not answer", async () => {
    const out = join(scratch, "made");
    await quorate("cluster", "create", "--trustees", "1", "--threshold", "1", "--out", out);
    const file = join(out, "cluster.json");
    const answer = await quorate("cluster", "init", file, "--etcd", "http://127.0.0.1:9");
    expect(answer).toMatchObject({ code: 1, stdout: "" });
    expect(answer.stderr).toMatch(/^quorate: [^\n]*127\.0\.0\.1:9[^\n]*\n$/);
  });
});

describe("quorate node", () => {
  it("shows the app's own help, and passes its exit code on", async () => {
    const help = await quorate("node", "--help");
    expect(help.code).toBe(0);
    expect(help.stdout).toContain("Usage: quorate node");
    const wrong = await quorate("node", "--config", join(scratch, "none.json"));
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("none.json");
  });
});

describe("quorate dev", () => {
  it("up --detach, vote, status and down: a cluster comes, works and leaves nothing behind", async () => {
    const dir = join(scratch, "dev");
    const up = await quorate(
      ...`dev up --detach --json --trustees 3 --threshold 2 --dir ${dir}`.split(" "),
    );
    expect(up.code, up.stderr).toBe(0);
    const summary = JSON.parse(up.stdout);
    const state = await readState(dir);
    expect(state?.phase).toBe("ready");
    expect(state?.components).toHaveLength(7);

    const second = await quorate("dev", "up", "--dir", dir);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain("runs in");

    const [one, two, three] = summary.nodes.map((node: { url: string }) => node.url);
    expect((await quorate("vote", "tx-1", "42", "--node", one)).code).toBe(0);
    expect((await quorate("vote", "tx-1", "42", "--node", three)).code).toBe(0);
    const vote = await quorate("vote", "tx-1", "42", "--node", two, "--wait", "--json");
    expect(vote.code, vote.stderr).toBe(0);
    expect(JSON.parse(vote.stdout)).toMatchObject({
      outcome: "RECORDED",
      transaction: { status: "CONFIRMED", value: "42" },
    });
    const other = await quorate("vote", "tx-1", "43", "--node", two);
    expect(other).toMatchObject({ code: 1, stdout: "" });
    expect(other.stderr).toContain("ALREADY_VOTED");
    const [, sequence, hash] =
      /receipt (\d+) of trustee-2: already_voted, (\S+)/.exec(other.stderr) ?? [];
    const receipts = ["receipts", "--tx", "tx-1", "--json", "--node", one];
    // Another node tells it too, once it is in etcd.
    const deadlineMs = performance.now() + 30_000;
    let told = await quorate(...receipts);
    while (JSON.parse(told.stdout).receipts.length === 0 && performance.now() < deadlineMs)
      told = await quorate(...receipts);
    expect(JSON.parse(told.stdout)).toMatchObject({
      complete: true,
      receipts: [
        { nodeId: "trustee-2", sequence: Number(sequence), messageHash: hash, verified: true },
      ],
    });

    const well = await quorate("dev", "status", "--dir", dir, "--json");
    expect(JSON.parse(well.stdout)).toMatchObject({ ok: true, phase: "ready" });
    process.kill(summary.nodes[2].pid, "SIGKILL");
    const unwell = await quorate("dev", "status", "--dir", dir);
    expect(unwell.code).toBe(1);
    expect(unwell.stdout).toMatch(/trustee-3 +not ok/);

    const down = await quorate("dev", "down", "--dir", dir);
    expect(down.code, down.stderr).toBe(0);
    for (const { name, process: ref } of state?.components ?? [])
      expect(await isAlive(ref), name).toBe(false);
    expect((await quorate("dev", "status", "--dir", dir)).code).toBe(1);
    expect((await quorate("dev", "down", "--dir", dir)).stdout).toContain("no cluster runs");
    expect(await readFile(join(dir, "supervisor.log"), "utf8")).toContain(
      "trustee-3 ended by itself",
    );
  });

  it("a lost supervisor's children are gone with it, and a number given to another is left alone", async () => {
    const dir = join(scratch, "dev");
    const up = await quorate(
      ...`dev up --detach --trustees 1 --threshold 1 --dir ${dir}`.split(" "),
    );
    expect(up.code, up.stderr).toBe(0);
    const state = await readState(dir);
    if (state === null) throw new Error("no state");
    process.kill(state.supervisor.pid, "SIGKILL");
    // As if this test's own number had been the supervisor's and a component's before.
    const taken = { pid: process.pid, startedAt: "1" };
    const [first, ...rest] = state.components;
    if (first === undefined) throw new Error("no components");
    const forged = {
      ...state,
      supervisor: taken,
      components: [{ ...first, process: taken }, ...rest],
    };
    await writeFile(join(dir, "state.json"), JSON.stringify(forged));
    const down = await quorate("dev", "down", "--dir", dir);
    expect(down.code, down.stderr).toBe(0);
    for (const { name, process: ref } of state.components)
      expect(await isAlive(ref), name).toBe(false);
  });

  it("does not take a directory that holds something else", async () => {
    await writeFile(join(scratch, "precious.txt"), "mine");
    const up = await quorate("dev", "up", "--dir", scratch);
    expect(up.code).toBe(1);
    expect(up.stderr).toContain("precious.txt");
    expect(await readdir(scratch)).toEqual(["precious.txt"]);
  });
});
