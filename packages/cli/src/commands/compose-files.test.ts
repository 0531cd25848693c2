import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  loadSettings,
  NODE_SETTINGS,
  nodeSchema,
  SUBMITTER_SETTINGS,
  submitterSchema,
} from "@quorate/settings";
import { holderOf, readTokensFile } from "@quorate/telemetry/api-tokens";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";
import { COMPOSE_TRUSTEES } from "./compose-files.ts";

const compose = readFileSync(
  fileURLToPath(new URL("../../../../docker-compose.yml", import.meta.url)),
  "utf8",
);
let scratch: string;
let out: string;
const file = (path: string): string => readFileSync(join(out, path), "utf8");
const modeOf = (path: string): string => (statSync(join(out, path)).mode & 0o777).toString(8);

async function create(...more: string[]) {
  const terminal = recordingTerminal();
  const words = ["cluster", "create", "--compose", "--threshold", "4", "--out", out];
  const code = await run([...words, "--trustees", "5", ...more], terminal);
  return { code, text: terminal.stdout() + terminal.stderr() };
}

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "quorate-compose-"));
  out = join(scratch, "cluster");
  expect((await create()).code).toBe(0);
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe("cluster create --compose", () => {
  it("writes every file that docker-compose.yml mounts or reads as a secret", () => {
    const named = [
      ...compose.matchAll(/\$\{QUORATE_CLUSTER_DIR:-\.\/cluster\}\/([\w./-]+?)(?=[":]|$)/gm),
    ];
    const paths = named.map(([, path]) => path ?? "");
    expect(paths.length).toBeGreaterThanOrEqual(COMPOSE_TRUSTEES * 2 + 6);
    for (const path of paths) expect(() => statSync(join(out, path)), path).not.toThrow();
  });

  it("sets every variable that docker-compose.yml has of a cluster", () => {
    const used = new Set([...compose.matchAll(/\$\{(QUORATE_[A-Z_]+)/g)].map(([, name]) => name));
    used.delete("QUORATE_IMAGE");
    const set = file("compose.env")
      .split("\n")
      .map((line) => line.split("=")[0]);
    expect(set).toEqual(expect.arrayContaining([...used]));
    expect(file("compose.env")).toMatch(/^QUORATE_SUBMITTER_ADDRESS=0x[0-9a-fA-F]{40}$/m);
  });

  it("makes configurations that the apps accept, with the services' addresses and no password", () => {
    const common = { env: {}, flags: {}, set: [] };
    const node = loadSettings({
      ...common,
      schema: nodeSchema,
      settings: NODE_SETTINGS,
      file: join(out, "trustee-5", "node.json"),
    });
    expect(node).toMatchObject({
      ok: true,
      value: { etcd: { hosts: expect.arrayContaining(["http://etcd-3:2379"]) } },
    });
    const set = [`chain.contractAddress=0x${"11".repeat(20)}`];
    const submitter = loadSettings({
      ...common,
      set,
      schema: submitterSchema,
      settings: SUBMITTER_SETTINGS,
      file: join(out, "submitter", "submitter.json"),
    });
    expect(submitter).toMatchObject({
      ok: true,
      value: { postgres: { url: "postgres://quorate@postgres:5432/quorate" } },
    });
    const password = file("secrets/postgres-password").trim();
    expect(file("secrets/pgpass")).toBe(`postgres:5432:*:quorate:${password}\n`);
    expect(file("submitter/submitter.json") + compose).not.toContain(password);
  });

  it("closes keys to all others, and the directory where a password must be open", () => {
    for (const path of ["trustee-1/node.key", "submitter/submitter.key", "secrets/pgpass"])
      expect(modeOf(path), path).toBe("600");
    expect(modeOf("secrets")).toBe("700");
  });

  it("makes no key and no password anew when called again, and writes what is missing", async () => {
    const before = ["trustee-3/node.key", "secrets/postgres-password", "compose.env"].map(file);
    const again = await create();
    expect([again.code, again.text]).toEqual([0, expect.stringContaining("nothing was missing")]);
    rmSync(join(out, "secrets", "pgpass"));
    expect((await create()).text).toContain("written: secrets/pgpass");
    expect(["trustee-3/node.key", "secrets/postgres-password", "compose.env"].map(file)).toEqual(
      before,
    );
    expect(file("secrets/pgpass")).toContain(file("secrets/postgres-password").trim());
    expect(readdirSync(join(out, "secrets")).length).toBe(4);
  });

  it("lets the operator in everywhere, each trustee's program at its own node, and each node at the submitter", () => {
    const roleOf = (token: string, list: string) =>
      holderOf(file(token).trim(), readTokensFile(join(out, list)))?.role ?? null;
    for (const list of ["trustee-1/tokens.json", "trustee-5/tokens.json", "submitter/tokens.json"])
      expect(roleOf("secrets/operator.token", list), list).toBe("operate");
    expect(roleOf("trustee-2/vote.token", "trustee-2/tokens.json")).toBe("vote");
    expect(roleOf("trustee-2/vote.token", "trustee-3/tokens.json")).toBeNull();
    expect(roleOf("trustee-2/vote.token", "submitter/tokens.json")).toBeNull();
    expect(roleOf("trustee-2/submitter.token", "submitter/tokens.json")).toBe("read");
    expect(roleOf("trustee-2/submitter.token", "trustee-2/tokens.json")).toBeNull();
    for (const path of ["trustee-1/tokens.json", "trustee-1/vote.token", "secrets/operator.token"])
      expect(modeOf(path), path).toBe("600");
  });

  it("lets nobody in anew whom an operator took from a list, and makes no token that no list lets in", async () => {
    const list = join(out, "trustee-4", "tokens.json");
    const whole = file("trustee-4/tokens.json");
    const less = JSON.stringify(JSON.parse(whole).slice(0, 1));
    writeFileSync(list, less);
    expect((await create()).code).toBe(0);
    expect(file("trustee-4/tokens.json")).toBe(less);
    rmSync(join(out, "trustee-4", "vote.token"));
    const refused = await create();
    expect([refused.code, refused.text]).toEqual([
      1,
      expect.stringMatching(/trustee-4\/vote\.token missing .*trustee-4\/tokens\.json/),
    ]);
    rmSync(list);
    expect((await create()).text).toContain("written: trustee-4/vote.token, trustee-4/tokens.json");
    expect(file("trustee-4/tokens.json")).not.toBe(whole);
  });

  it("refuses another number of trustees than docker-compose.yml has", async () => {
    const words = "cluster create --compose --trustees 4 --threshold 3 --out";
    const terminal = recordingTerminal();
    expect(await run([...words.split(" "), join(scratch, "four")], terminal)).toBe(2);
    expect(terminal.stderr()).toContain("for 5 trustees");
    expect(compose.match(/^ {2}trustee-\d+:$/gm)?.length).toBe(COMPOSE_TRUSTEES);
  });
});
