import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  bytesToHex,
  doubleVotingEvidence,
  emptySnapshot,
  hash,
  LIMITS,
  makeEvidenceFile,
  makeTrusteeSet,
  onlySet,
  parseClusterId,
  parseEpoch,
  parseEvidenceId,
  parseEvmAddress,
  parseNodeId,
  parseTxId,
  parseValue,
  peerIdOf,
  signFrame,
  trusteeSetFingerprint,
  unwrap,
  utf8,
  type VerifiedVote,
  verifyFrame,
} from "@quorate/core";
import { createEd25519, createVoteSigner } from "@quorate/crypto-sodium";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";

const ed25519 = createEd25519();
const verify = ed25519.verify.bind(ed25519);
const signers = [1, 2, 3].map((n) => createVoteSigner(hash(utf8(`signer ${n}`))));
const [exporter, , offender] = signers as [(typeof signers)[0], unknown, (typeof signers)[0]];
const set = unwrap(
  makeTrusteeSet({
    clusterId: unwrap(parseClusterId("cli-test")),
    epoch: unwrap(parseEpoch(1)),
    threshold: 2,
    trustees: signers.map(({ publicKey }, i) => ({
      nodeId: unwrap(parseNodeId(`trustee-${i + 1}`)),
      peerId: peerIdOf(publicKey),
      publicKey,
      evmAddress: unwrap(parseEvmAddress(`0x${"00".repeat(20)}`)),
    })),
  }),
);
const txId = unwrap(parseTxId("tx-1"));

function voteFor(value: bigint): VerifiedVote {
  const vote = {
    clusterId: set.clusterId,
    epoch: set.epoch,
    txId,
    value: unwrap(parseValue(value)),
    nodeId: unwrap(parseNodeId("trustee-3")),
    issuedAtMs: 1_700_000_000_000,
  };
  const [signed] = unwrap(
    verifyFrame(
      signFrame([vote], (bytes) => offender.sign(bytes)),
      set,
      verify,
    ),
  );
  if (signed === undefined) throw new Error("one vote in, one vote out");
  return signed;
}

const ID = `tx-1/${peerIdOf(offender.publicKey)}/DOUBLE_VOTING`;
const GOOD = unwrap(
  makeEvidenceFile(
    {
      violation: {
        ...unwrap(parseEvidenceId(ID)),
        evidence: doubleVotingEvidence(voteFor(1n), voteFor(2n)),
        detectedAtMs: 1_700_000_001_000,
      },
      clusterId: set.clusterId,
      sets: onlySet(set),
      tally: { snapshot: emptySnapshot(txId), revision: 1n },
      exporter: peerIdOf(exporter.publicKey),
      exportedAtMs: 1_700_000_002_000,
    },
    (bytes) => exporter.sign(bytes),
    verify,
  ),
);
const BAD = GOOD.replace("trustee-3 signed two", "trustee-2 signed two");
const FINDING = "trustee-3 signed two votes for tx-1 in epoch 1: 1 and 2";
const FINGERPRINT = trusteeSetFingerprint(set);

let scratch: string;
const at = (name: string): string => join(scratch, name);

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "quorate-evidence-"));
  await writeFile(at("good.json"), GOOD);
  await writeFile(at("bad.json"), BAD);
  const trustees = set.trustees.map((t) => ({ ...t, publicKey: bytesToHex(t.publicKey) }));
  const cluster = { clusterId: set.clusterId, epoch: 1, threshold: 2, trustees };
  await writeFile(at("cluster.json"), JSON.stringify(cluster));
  await writeFile(at("other.json"), JSON.stringify({ ...cluster, threshold: 3 }));
});
afterAll(async () => {
  await rm(scratch, { recursive: true, force: true });
});

async function quorate(...argv: string[]) {
  const terminal = recordingTerminal();
  const code = await run(argv, terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

describe("quorate evidence verify", () => {
  it("says in one sentence what is proven, and under which trustee set", async () => {
    expect(await quorate("evidence", "verify", at("good.json"))).toEqual({
      code: 0,
      stdout: `${at("good.json")}: GOOD, PROOF: ${FINDING}; provided that the trustee set is real: that of epoch 1 has the fingerprint ${FINGERPRINT}.`,
      stderr: "",
    });
  });

  it.each([
    ["--set-fingerprint", () => FINGERPRINT.toUpperCase()],
    ["--cluster", () => at("cluster.json")],
  ])("holds without a proviso under the trustee set named by %s", async (flag, value) => {
    const { code, stdout } = await quorate("evidence", "verify", at("good.json"), flag, value());
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `${at("good.json")}: GOOD, PROOF: ${FINDING}; under the trustee set of epoch 1, which you named.`,
    });
  });

  it.each([
    ["--set-fingerprint", () => "0".repeat(64)],
    ["--cluster", () => at("other.json")],
  ])("is not good under another trustee set than the one named by %s", async (flag, value) => {
    const { code, stdout } = await quorate("evidence", "verify", at("good.json"), flag, value());
    expect(code).toBe(1);
    expect(stdout).toContain(
      `NOT GOOD: its trustee set of epoch 1 has the fingerprint ${FINGERPRINT}`,
    );
  });

  it("any of several named sets will do", async () => {
    const flags = ["--set-fingerprint", "0".repeat(64), "--set-fingerprint", FINGERPRINT];
    expect((await quorate("evidence", "verify", at("good.json"), ...flags)).code).toBe(0);
  });

  it("judges every file and fails when one is not good, each in one line", async () => {
    await writeFile(at("huge.json"), " ".repeat(LIMITS.evidenceFileBytesMax + 10));
    const files = ["good.json", "bad.json", "none.json", "huge.json", ".", "cluster.json"].map(at);
    const { code, stdout } = await quorate("evidence", "verify", ...files);
    expect(code).toBe(1);
    const lines = stdout.split("\n");
    expect(lines).toHaveLength(files.length);
    expect(lines[0]).toContain("GOOD, PROOF");
    for (const [i, said] of [
      [1, "NOT GOOD: the file is not as trustee-1 exported it"],
      [2, "NOT GOOD: there is no such file"],
      [3, "NOT GOOD: the file is larger than"],
      [4, "NOT GOOD: it can't be read"],
      [5, "NOT GOOD: the file must have the keys"],
    ] as const)
      expect(lines[i]).toContain(said);
  });

  it("prints one JSON document with --json", async () => {
    const files = [at("good.json"), at("bad.json")];
    const { code, stdout } = await quorate("evidence", "verify", ...files, "--json");
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      files: [
        {
          ok: true,
          pinned: false,
          id: ID,
          grade: "PROOF",
          finding: `${FINDING}.`,
          sets: [{ epoch: 1, fingerprint: FINGERPRINT }],
        },
        { file: at("bad.json"), ok: false },
      ],
    });
  });

  it("loads no module that could reach a network", async () => {
    const hooks = `
      import { registerHooks } from "node:module";
      registerHooks({ resolve(specifier, context, next) {
        const found = next(specifier, context);
        process.stderr.write("loaded " + found.url + "\\n");
        return found;
      } });`;
    await writeFile(at("hooks.mjs"), hooks);
    const main = join(import.meta.dirname, "..", "main.ts");
    const flags = ["--conditions=@quorate/source", "--import", at("hooks.mjs")];
    const child = spawn(process.execPath, [...flags, main, "evidence", "verify", at("good.json")], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const [code]: unknown[] = await once(child, "close");
    expect(code).toBe(0);
    const loaded = stderr.split("\n").flatMap((line) => /^loaded (.*)$/.exec(line)?.[1] ?? []);
    expect(loaded.some((url) => url.endsWith("/evidence-verify.ts"))).toBe(true);
    const reaching =
      /node:(?:net|http|https|tls|dgram|dns|http2)|libp2p|etcd3|\/pg\/|viem|fastify|store-|grpc/;
    expect(loaded.filter((url) => reaching.test(url))).toEqual([]);
  });
});

let server: Server | null = null;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

/** A server that answers requests in turn and keeps what it was asked. */
async function node(...answers: readonly (readonly [number, string])[]) {
  const asked: string[] = [];
  const started = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const [status, body] = answers[Math.min(asked.length, answers.length) - 1] ?? [500, ""];
    request.resume();
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  server = started;
  started.listen(0, "127.0.0.1");
  await once(started, "listening");
  return { url: `http://127.0.0.1:${(started.address() as AddressInfo).port}`, asked };
}

describe("quorate evidence export", () => {
  const exported = (url: string, ...more: string[]) =>
    quorate("evidence", "export", ID, "--node", url, ...more);

  it("writes the node's bytes and says what they prove; over another file only when forced", async () => {
    const { url } = await node([200, GOOD]);
    const out = at("out.json");
    const first = await exported(url, "--out", out);
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout).toContain(FINDING);
    expect(await readFile(out, "utf8")).toBe(GOOD);
    await writeFile(out, "mine");
    const second = await exported(url, "--out", out);
    expect(second).toMatchObject({ code: 1, stdout: "" });
    expect(second.stderr).toContain("--force");
    expect(await readFile(out, "utf8")).toBe("mine");
    expect((await exported(url, "--out", out, "--force", "--json")).code).toBe(0);
    expect(await readFile(out, "utf8")).toBe(GOOD);
    expect((await readdir(scratch)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("to stdout is the file itself", async () => {
    const { url } = await node([200, GOOD]);
    const { code, stdout, stderr } = await exported(url);
    expect({ code, stdout: `${stdout}\n` }).toEqual({ code: 0, stdout: GOOD });
    expect(stderr).toContain(FINDING);
  });

  it.each([
    ["not good", BAD, ID, "exported a file that is not good: the file is not as trustee-1"],
    ["another one", GOOD, ID.replace("tx-1/", "tx-2/"), `exported ${ID} instead`],
  ])("keeps nothing of a file that is %s", async (_what, body, id, said) => {
    const { url } = await node([200, body]);
    const answer = await quorate("evidence", "export", id, "--node", url, "-o", at("never.json"));
    expect(answer).toMatchObject({ code: 1, stdout: "" });
    expect(answer.stderr).toContain(said);
    expect(await readdir(scratch)).not.toContain("never.json");
  });
});

describe("quorate evidence list", () => {
  const entry = {
    id: ID,
    nodeId: "trustee-3",
    type: "DOUBLE_VOTING",
    grade: "PROOF",
    detectedAt: "t",
  };
  const page = (count: number, next: string | null): [number, string] => [
    200,
    JSON.stringify({ evidence: Array.from({ length: count }, () => entry), next }),
  ];

  it("follows the pages to the end, also over an empty one", async () => {
    const { url, asked } = await node(page(2, "a"), page(0, "b"), page(1, null));
    const { code, stdout } = await quorate("evidence", "list", "--node", url, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ evidence: [{}, {}, {}], more: false });
    expect(asked.map((line) => /after=(\w)/.exec(line)?.[1])).toEqual([undefined, "a", "b"]);
  });

  it("stops at its limit and says that there may be more", async () => {
    const { url } = await node(page(2, "a"));
    const { stdout, stderr } = await quorate("evidence", "list", "--node", url, "--limit", "2");
    expect(stdout.split("\n")).toHaveLength(3);
    expect(stderr).toContain("there may be more");
  });

  it("says when there is nothing", async () => {
    const { url } = await node(page(0, null));
    expect((await quorate("evidence", "list", "--node", url)).stdout).toContain("no violation");
  });
});

describe("quorate ban lift", () => {
  const lift = (url: string, ...more: string[]) =>
    quorate("ban", "lift", "trustee-3", "--node", url, "--reason", "it was the power", ...more);

  it.each([
    [409, "BAN_PERMANENT", "rests on proof"],
    [404, "NOT_BANNED", "trustee-3 is not banned"],
  ])("passes on why not: %i %s", async (status, code, message) => {
    const { url } = await node([status, JSON.stringify({ error: { code, message } })]);
    const answer = await lift(url);
    expect(answer).toMatchObject({ code: 1, stdout: "" });
    expect(answer.stderr).toBe(`quorate: no ban was lifted (${code}): ${message}`);
  });

  it("needs a name and a reason before any node is asked", async () => {
    const { url, asked } = await node([500, ""]);
    expect((await quorate("ban", "lift", "No One", "--reason", "x", "--node", url)).code).toBe(2);
    expect((await quorate("ban", "lift", "trustee-3", "--node", url)).code).toBe(2);
    expect((await quorate("ban", "lift", "trustee-3", "--reason", " ", "--node", url)).code).toBe(
      2,
    );
    expect(asked).toEqual([]);
  });
});

describe("wrong usage", () => {
  it.each([
    [["evidence", "verify"], "missing required argument 'file'"],
    [["evidence", "verify", "x", "--set-fingerprint", "12"], "64 hexadecimal digits"],
    [["evidence", "show", "tx-1"], "TX/PEER/TYPE"],
    [["evidence", "export", "a/b/c"], "TX/PEER/TYPE"],
    [["evidence", "list", "--tx", "a/b"], "transaction id must be"],
    [["evidence", "list", "--limit", "0"], "from 1 to"],
  ])("%j: exit code 2, said on stderr only", async (argv, said) => {
    const { code, stdout, stderr } = await quorate(...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(said);
  });
});
