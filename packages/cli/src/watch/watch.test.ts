import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { stripVTControlCharacters, styleText } from "node:util";
import type { NodeStatus } from "@quorate/localcluster/client";
import { afterEach, describe, expect, it } from "vitest";
import { run } from "../program.ts";
import { PLAIN, type Style } from "../terminal.ts";
import { recordingTerminal } from "../test-terminal.ts";
import { watchFrame, watchLine } from "./frame.ts";
import type { WatchSnapshot } from "./snapshot.ts";

const trustee = (nodeId: string, rest: object = {}) => ({
  nodeId,
  peerId: `12D3Koo${nodeId}`,
  online: true,
  banned: false,
  banReason: null,
  version: "0.1.0",
  apiUrl: null,
  ...rest,
});
const STATUS = {
  clusterId: "demo",
  nodeId: "trustee-1",
  peerId: "12D3Koo1",
  version: "0.1.0",
  epoch: 3,
  threshold: 2,
  totalNodes: 3,
  faultBounds: { specified: 0, safety: 0, liveness: 1, warnings: [] },
  ready: true,
  checks: [{ name: "etcd", ok: true, detail: "connected" }],
  trustees: [
    trustee("trustee-1"),
    trustee("trustee-2", { online: false }),
    trustee("trustee-3", { banned: true, banReason: "DOUBLE_VOTING" }),
  ],
  observers: [],
  openTransactions: 4,
  pendingVotes: 5,
} as unknown as NodeStatus;

const SNAPSHOT: WatchSnapshot = {
  atMs: Date.UTC(2026, 0, 15, 12, 0, 0),
  nodeUrl: "http://127.0.0.1:7701",
  node: { value: STATUS },
  transactions: [{ txId: "tx-1", status: "CONFIRMED", value: "42", votes: 3 }],
  submitterUrl: "http://127.0.0.1:7600",
  submitter: { problem: "no submitter answers" },
};

const BIG = { columns: 200, rows: 100 };
const COLOURS: Style = {
  bold: (text) => styleText("bold", text, { validateStream: false }),
  dim: (text) => styleText("dim", text, { validateStream: false }),
  good: (text) => styleText("green", text, { validateStream: false }),
  bad: (text) => styleText("red", text, { validateStream: false }),
  warn: (text) => styleText("yellow", text, { validateStream: false }),
};

let server: Server | null = null;
afterEach(() => server?.close());

describe("quorate watch", () => {
  it("shows each trustee's state, the transactions and what does not answer", () => {
    const frame = watchFrame(SNAPSHOT, PLAIN, BIG);
    expect(frame).toMatch(/^trustee-1 +online/m);
    expect(frame).toMatch(/^trustee-2 +offline/m);
    expect(frame).toMatch(/^trustee-3 +banned: DOUBLE_VOTING/m);
    expect(frame).toMatch(/^tx-1 +CONFIRMED +42 +3/m);
    expect(frame).toContain("4 open, 5 votes pending");
    expect(frame).toContain("no answer from http://127.0.0.1:7600");
    expect(watchLine(SNAPSHOT)).toBe(
      "ready, epoch 3, 1 of 3 trustees online, banned: trustee-3, 4 open, 5 votes pending, submitter: no submitter answers",
    );
  });

  it("keeps within the terminal, and leaves no colour open where it cuts", () => {
    for (const columns of [1, 7, 20, 40]) {
      const lines = watchFrame(SNAPSHOT, COLOURS, { columns, rows: 6 }).split("\n");
      expect(lines.length).toBe(6);
      for (const line of lines) {
        expect(stripVTControlCharacters(line).length).toBeLessThanOrEqual(columns);
        const colours = line.split("\u001b[").slice(1);
        expect(colours.length % 2).toBe(0);
      }
    }
  });

  it("lets no text from the network move the cursor", () => {
    const checks = [{ name: "etcd", ok: false, detail: "\u001b[2J\u001b[1;1Hall is well\r\u0007" }];
    const node = { value: { ...STATUS, ready: false, checks } };
    const frame = watchFrame({ ...SNAPSHOT, node }, PLAIN, BIG);
    expect(frame).toContain("not ready: etcd: all is well");
    expect(frame.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  });

  it("prints a line when something changes, and none when nothing does", async () => {
    let looks = 0;
    server = createServer((request, response) => {
      if (request.url !== "/v1/status") return void response.writeHead(404).end("{}");
      looks += 1;
      response.end(JSON.stringify({ ...STATUS, openTransactions: looks < 3 ? 1 : 2 }));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const terminal = recordingTerminal();
    const urls = ["--node", `http://127.0.0.1:${port}`, "--submitter", "http://127.0.0.1:9"];
    const code = await run(["watch", ...urls, "--interval-ms", "200", "--count", "4"], terminal);
    expect([code, looks]).toEqual([0, 4]);
    const lines = terminal.stdout().split("\n");
    expect(lines.map((line) => /(\d) open/.exec(line)?.[1])).toEqual(["1", "2"]);
  });

  it("ends with exit code 1 when the node did not answer at the last look", async () => {
    const terminal = recordingTerminal();
    const away = ["--node", "http://127.0.0.1:9", "--submitter", "http://127.0.0.1:9"];
    expect(await run(["watch", ...away, "--count", "1"], terminal)).toBe(1);
    expect(terminal.stdout()).toContain("no node answers at http://127.0.0.1:9");
  });
});

describe("quorate healthcheck", () => {
  const answering = async (body: object, status = 200): Promise<string> => {
    server = createServer((_request, response) => {
      response.writeHead(status).end(JSON.stringify(body));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  };
  const health = async (...argv: string[]) => {
    const terminal = recordingTerminal();
    const code = await run(["healthcheck", ...argv], terminal);
    return [code, terminal.stdout() + terminal.stderr()];
  };

  it.each([
    [{ status: "ok" }, 200, [], 0, "ok: it serves"],
    [{ hello: "world" }, 200, [], 1, "is not Quorate"],
    [{ ready: true }, 200, ["--ready"], 0, "ok: it is ready"],
    [{ ready: false, reasons: ["etcd: away"] }, 503, ["--ready"], 1, "not ok: etcd: away"],
  ])("%j with %d and %j is exit code %d", async (body, status, flags, code, said) => {
    const url = await answering(body, status);
    expect(await health("--url", url, ...flags)).toEqual([code, expect.stringContaining(said)]);
  });

  it("says that nothing answers, with exit code 1", async () => {
    expect(await health("--url", "http://127.0.0.1:9")).toEqual([
      1,
      "not ok: nothing answers at http://127.0.0.1:9",
    ]);
  });
});
