import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";
import type { SenderView, SubmissionDetailView } from "./submissions-client.ts";

const HASH = `0x${"ab".repeat(32)}`;

const SUBMISSION: SubmissionDetailView = {
  txId: "tx-1",
  key: `0x${"cd".repeat(32)}`,
  value: "18446744073709551615",
  state: "FINALIZED",
  epoch: 1,
  decisionRevision: "42",
  nonce: "3",
  txHash: HASH,
  blockNumber: "77",
  tries: 1,
  reason: null,
  queuedAt: "2026-01-15T12:00:00.000Z",
  finalizedAt: "2026-01-15T12:13:00.000Z",
  confirmedAt: "2026-01-15T12:13:01.000Z",
  archivedAt: null,
  slots: [
    {
      nonce: "3",
      state: "FINALIZED_OK",
      gasLimit: "5440000",
      results: 200,
      included: { hash: HASH, blockNumber: "77", blockHash: `0x${"ef".repeat(32)}` },
      attempts: [
        {
          hash: `0x${"11".repeat(32)}`,
          kind: "ORIGINAL",
          maxFeePerGasWei: "3000000000",
          maxPriorityFeePerGasWei: "1000000000",
          createdAt: "2026-01-15T12:00:01.000Z",
          sentCount: 2,
        },
        {
          hash: HASH,
          kind: "BUMP",
          maxFeePerGasWei: "3375000001",
          maxPriorityFeePerGasWei: "1125000000",
          createdAt: "2026-01-15T12:01:01.000Z",
          sentCount: 0,
        },
      ],
    },
  ],
  history: [
    {
      nonce: "3",
      from: "SIGNED",
      to: "INCLUDED",
      leaderEpoch: "2",
      blockNumber: "77",
      reason: null,
      at: "2026-01-15T12:01:13.000Z",
    },
  ],
};

const SENDER: SenderView = {
  chainId: 31_337,
  address: `0x${"a1".repeat(20)}`,
  contractAddress: `0x${"c0".repeat(20)}`,
  leading: true,
  known: true,
  leaderEpoch: "2",
  nextNonce: "5",
  importedThroughBlock: "70",
  frozen: { reason: "the chain holds 3 results more", since: "2026-01-15T12:00:00.000Z" },
  history: { checked: true, differs: false },
  liveNonces: ["4"],
  gaps: [],
  counts: { QUEUED: 1, ASSIGNED: 1, INCLUDED: 0, FINALIZED: 9, ABORTED: 0, QUARANTINED: 0 },
  chain: { latestNonce: "4", pendingNonce: "5", finalizedBlock: "71", problem: null },
};

let server: Server;
let url: string;
/** Method and path to the status and body it answers. */
let answers: Map<string, readonly [number, unknown]>;
let asked: { readonly line: string; readonly body: unknown }[];

beforeEach(async () => {
  answers = new Map();
  asked = [];
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const line = `${request.method} ${request.url}`;
      const text = Buffer.concat(chunks).toString();
      asked.push({ line, body: text === "" ? null : JSON.parse(text) });
      const [status, body] = answers.get(line) ?? [
        404,
        { error: { code: "NOT_FOUND", message: "there is no such route" } },
      ];
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function submissions(...argv: string[]) {
  const terminal = recordingTerminal();
  const code = await run(["submissions", ...argv, "--submitter", url], terminal);
  return { code, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

const refused = (code: string, message: string) => ({ error: { code, message } });

describe("submissions list", () => {
  it("asks for the states and the page, and says where the next begins", async () => {
    answers.set("GET /v1/submissions?limit=2&state=QUEUED%2CASSIGNED&after=abc", [
      200,
      { submissions: [SUBMISSION], next: "def" },
    ]);
    const { code, stdout, stderr } = await submissions(
      ..."list --state queued,assigned --limit 2 --after abc".split(" "),
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^TRANSACTION +VALUE +STATE/);
    expect(stdout).toMatch(/^tx-1 +18446744073709551615 +FINALIZED +3 +77 +1 /m);
    expect(stderr).toBe("there are more: --after def");
  });

  it("refuses a state that there is not, before it asks", async () => {
    const { code, stderr } = await submissions("list", "--state", "LOST");
    expect([code, asked]).toEqual([2, []]);
    expect(stderr).toContain("QUARANTINED");
  });
});

describe("submissions show", () => {
  it("shows nonces, attempts with their fees and sends, and the moves", async () => {
    answers.set("GET /v1/submissions/tx-1", [200, SUBMISSION]);
    const { code, stdout } = await submissions("show", "tx-1");
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^chain +block 77, ${HASH}$`, "m"));
    expect(stdout).toMatch(/^3 +FINALIZED_OK +200 +ORIGINAL +3\.000 gwei +1\.000 gwei +2× /m);
    // Rounded up: an offer is never shown as less than it is.
    expect(stdout).toMatch(
      /^3 +FINALIZED_OK +200 +BUMP +3\.376 gwei +1\.125 gwei +never .*\(mined\)$/m,
    );
    expect(stdout).toMatch(/SIGNED → INCLUDED +2 +77$/m);
    expect(stdout).not.toContain("archived");
  });

  it("says of an archived one that it is, and prints the document as it came", async () => {
    const archived = {
      ...SUBMISSION,
      archivedAt: "2026-02-20T00:00:00.000Z",
      slots: [],
      history: [],
    };
    answers.set("GET /v1/submissions/tx-1", [200, archived]);
    const { stdout } = await submissions("show", "tx-1");
    expect(stdout).toMatch(/^archived +2026-02-20T00:00:00\.000Z \(it was archived/m);
    expect(JSON.parse((await submissions("show", "tx-1", "--json")).stdout)).toEqual(archived);
  });

  it("refuses what is no id, before it asks", async () => {
    expect([(await submissions("show", "a b")).code, asked]).toEqual([2, []]);
  });
});

describe("submissions retry", () => {
  it("sends who and why, and repeats what was recorded", async () => {
    answers.set("POST /v1/submissions/tx-1/retry", [
      200,
      { txId: "tx-1", outcome: "released", by: "ada", reason: "paid" },
    ]);
    const { code, stdout } = await submissions(
      ..."retry tx-1 --reason paid --operator ada".split(" "),
    );
    expect([code, stdout]).toEqual([0, "tx-1 is QUEUED again; recorded: by ada, because: paid"]);
    expect(asked[0]?.body).toEqual({ operator: "ada", reason: "paid" });
  });

  it.each([
    [409, "SLOT_LIVE"],
    [409, "NOT_QUARANTINED"],
    [404, "TX_UNKNOWN"],
  ])("explains the refusal %d %s", async (status, name) => {
    answers.set("POST /v1/submissions/tx-1/retry", [status, refused(name, "because of this")]);
    const { code, stdout, stderr } = await submissions("retry", "tx-1", "--reason", "why");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(`quorate: nothing was retried (${name}): because of this`);
  });

  it("needs a reason", async () => {
    expect([(await submissions("retry", "tx-1", "--reason", " ")).code, asked]).toEqual([2, []]);
    expect((await submissions("retry", "tx-1")).stderr).toContain("--reason");
  });
});

describe("submissions unfreeze", () => {
  const unfreeze = ["unfreeze", "--reason", "compared", "--operator", "ada"];
  const thawed = { ...SENDER, frozen: null };

  it("says why it was frozen and that nothing differs, and then resumes", async () => {
    answers.set("GET /v1/sender", [200, SENDER]);
    answers.set("POST /v1/sender/thaw", [200, thawed]);
    const { code, stdout, stderr } = await submissions(...unfreeze);
    expect(code).toBe(0);
    expect(stderr).toContain("the chain holds 3 results more");
    expect(stderr).toContain("beyond that, nothing differs");
    expect(stdout).toMatch(/^frozen +no$/m);
    expect(asked.map(({ line }) => line)).toEqual(["GET /v1/sender", "POST /v1/sender/thaw"]);
  });

  it.each([
    ["unknown transactions", { chain: { ...SENDER.chain, pendingNonce: "7" } }, "2 transactions"],
    [
      "a restore that no leader has looked into",
      { history: { checked: false, differs: false } },
      "not held against the chain yet",
    ],
    ["gaps", { gaps: ["4"] }, "nonces 4"],
    ["records it did not know", { history: { checked: true, differs: true } }, "did not know"],
    ["quarantined ones", { counts: { ...SENDER.counts, QUARANTINED: 3 } }, "3 submissions"],
    [
      "a chain that does not answer",
      { chain: { latestNonce: null, pendingNonce: null, finalizedBlock: null, problem: "away" } },
      "could not be asked",
    ],
  ])("leaves it frozen with %s, unless the difference is accepted", async (_what, over, said) => {
    answers.set("GET /v1/sender", [200, { ...SENDER, ...over }]);
    answers.set("POST /v1/sender/thaw", [200, thawed]);
    const kept = await submissions(...unfreeze);
    expect(kept.code).toBe(1);
    expect(kept.stderr).toContain(said);
    expect(asked.map(({ line }) => line)).toEqual(["GET /v1/sender"]);
    expect((await submissions(...unfreeze, "--accept-differences")).code).toBe(0);
    expect(asked.at(-1)?.line).toBe("POST /v1/sender/thaw");
  });

  it("does nothing where nothing is frozen", async () => {
    answers.set("GET /v1/sender", [200, thawed]);
    const { code, stdout } = await submissions(...unfreeze);
    expect([code, asked.length]).toEqual([0, 1]);
    expect(stdout).toContain("is not frozen");
  });
});

describe("submissions freeze", () => {
  it("shows the sender as it is now", async () => {
    answers.set("POST /v1/sender/freeze", [200, SENDER]);
    const { code, stdout } = await submissions("freeze", "--reason", "the key may be known");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^frozen +since 2026-01-15T12:00:00\.000Z: the chain/m);
    expect(stdout).toMatch(/^next nonce +5$/m);
  });
});

describe("whoever does not answer as a submitter", () => {
  it("is named, with the flag that names another", async () => {
    const terminal = recordingTerminal();
    const gone = ["submissions", "list", "--submitter", "http://127.0.0.1:9"];
    expect(await run(gone, terminal)).toBe(1);
    expect(terminal.stderr()).toContain("no submitter answers at http://127.0.0.1:9");
    expect(terminal.stderr()).toContain("QUORATE_SUBMITTER");
  });

  it("is not taken for one: a node, or a submitter without these routes", async () => {
    expect((await submissions("list")).stderr).toContain("is not a Quorate submitter");
    answers.set("GET /v1/sender", [200, { hello: "world" }]);
    const { stderr } = await submissions("unfreeze", "--reason", "x");
    expect(stderr).toContain("is not a Quorate submitter");
  });
});
