import type { NodeStatus, TransactionView } from "@quorate/localcluster/client";
import { describe, expect, it } from "vitest";
import { PLAIN } from "../terminal.ts";
import { renderStatus } from "./status.ts";
import { fields, table } from "./table.ts";
import { renderTransaction } from "./transaction.ts";

const ESCAPE = String.fromCharCode(27);

describe("tables", () => {
  it("line up whatever the cells' colours", () => {
    const red = `${ESCAPE}[31mbad${ESCAPE}[39m`;
    const lines = table(
      ["A", "B"],
      [
        [red, "x"],
        ["good!", "y"],
      ],
    ).split("\n");
    expect(lines).toEqual(["A      B", `${red}    x`, "good!  y"]);
  });

  it("leave out fields without a value", () => {
    const lines = fields([
      ["name", "a"],
      ["nothing", null],
      ["longer", "b"],
    ]);
    expect(lines).toBe("name    a\nlonger  b");
  });
});

const TX: TransactionView = {
  txId: "tx-1",
  status: "ABORTED_BYZANTINE",
  value: null,
  reason: "MINORITY_VOTE",
  policy: "strict-abort",
  profile: "balanced",
  epoch: 1,
  openedAt: "2026-01-01T00:00:00.000Z",
  deadlineAt: "2026-01-01T00:00:30.000Z",
  unanimous: false,
  offenders: ["trustee-2"],
  absent: ["trustee-3"],
  votes: [
    { nodeId: "trustee-1", value: "18446744073709551615", issuedAt: "2026-01-01T00:00:00.000Z" },
    { nodeId: "trustee-2", value: "0", issuedAt: "2026-01-01T00:00:01.000Z" },
  ],
  violations: [{ nodeId: "trustee-2", type: "MINORITY_VOTE", grade: "OPINION" }],
  chain: null,
};

describe("a transaction", () => {
  it("shows status, reason, every vote in full and every violation", () => {
    expect(renderTransaction(TX, PLAIN)).toBe(
      [
        "transaction  tx-1",
        "status       ABORTED_BYZANTINE",
        "reason       MINORITY_VOTE",
        "policy       strict-abort",
        "profile      balanced",
        "epoch        1",
        "opened       2026-01-01T00:00:00.000Z",
        "deadline     2026-01-01T00:00:30.000Z",
        "unanimous    no",
        "absent       trustee-3",
        "",
        "VOTER      VALUE                 ISSUED",
        "trustee-1  18446744073709551615  2026-01-01T00:00:00.000Z",
        "trustee-2  0                     2026-01-01T00:00:01.000Z",
        "",
        "VIOLATION      BY         GRADE",
        "MINORITY_VOTE  trustee-2  OPINION",
      ].join("\n"),
    );
  });

  it("shows its place on the chain once it has one", () => {
    const chain = { txHash: "0xabc", blockNumber: "12" };
    const shown = renderTransaction(
      { ...TX, status: "CONFIRMED", value: "7", reason: null, violations: [], chain },
      PLAIN,
    );
    expect(shown).toContain("chain        block 12, 0xabc");
    expect(shown).toContain("value        7");
    expect(shown).not.toContain("VIOLATION");
  });
});

describe("a node's status", () => {
  const OBSERVER = {
    peerId: "12D3",
    addresses: [],
    version: "0.1.0",
    since: "2026-01-01T00:00:00.000Z",
  };

  it("tells banned, online and offline trustees apart, and repeats the warnings", () => {
    const trustee = { peerId: "12D3", banReason: null, version: null, apiUrl: null };
    const status: NodeStatus = {
      clusterId: "c",
      nodeId: "trustee-1",
      peerId: "12D3",
      version: "0.1.0",
      epoch: 1,
      threshold: 1,
      totalNodes: 3,
      faultBounds: { specified: 1, safety: -2, liveness: 2, warnings: ["two could win"] },
      ready: false,
      checks: [{ name: "etcd", ok: false, detail: "gone" }],
      trustees: [
        { ...trustee, nodeId: "trustee-1", online: true, banned: false, apiUrl: "http://x:1" },
        { ...trustee, nodeId: "trustee-2", online: false, banned: false },
        {
          ...trustee,
          nodeId: "trustee-3",
          online: true,
          banned: true,
          banReason: "DOUBLE_VOTING",
        },
      ],
      observers: [
        { ...OBSERVER, nodeId: "trustee-4", draining: true },
        { ...OBSERVER, nodeId: "trustee-5", draining: false },
      ],
      openTransactions: 2,
      pendingVotes: 3,
    };
    const shown = renderStatus(status, PLAIN);
    expect(shown).toMatch(/^trustee-4 +draining +0\.1\.0 +2026-01-01T00:00:00\.000Z +12D3$/m);
    expect(shown).toMatch(/^trustee-5 +observes/m);
    expect(renderStatus({ ...status, observers: [] }, PLAIN)).not.toContain("NO TRUSTEE");
    expect(shown).toMatch(/^trustee-1 +online +- +http:\/\/x:1/m);
    expect(shown).toMatch(/^trustee-2 +offline/m);
    expect(shown).toMatch(/^trustee-3 +banned: DOUBLE_VOTING/m);
    expect(shown).toMatch(/^etcd +not ok +gone$/m);
    expect(shown).toMatch(/^ready +no$/m);
    expect(shown).toContain("warning: two could win");
  });
});
