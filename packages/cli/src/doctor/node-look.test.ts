import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { probe } from "./check.ts";
import { checkClock } from "./clock.ts";
import { checkJournal } from "./key-file.ts";
import { apiFrom } from "./node-look.ts";
import { checkPeers } from "./peers.ts";

describe("where a node's API is for another machine", () => {
  it.each([
    ["http://10.0.0.5:8080", ["/ip4/10.0.0.5/tcp/4001"], "http://10.0.0.5:8080"],
    ["http://127.0.0.1:8080", ["/ip4/127.0.0.1/tcp/4001"], "http://127.0.0.1:8080"],
    // Our own loopback is not theirs.
    ["http://127.0.0.1:8080", ["/ip4/10.0.0.5/tcp/4001"], null],
    [
      "http://0.0.0.0:8080",
      ["/ip4/127.0.0.1/tcp/4001", "/ip4/172.18.0.5/tcp/4001"],
      "http://172.18.0.5:8080",
    ],
    ["http://0.0.0.0:8080", ["/ip6/fd00::5/tcp/4001"], "http://[fd00::5]:8080"],
    [null, ["/ip4/10.0.0.5/tcp/4001"], null],
  ])("of %j and %j is %j", (apiUrl, addresses, expected) => {
    expect(apiFrom({ apiUrl, addresses })).toBe(expected);
  });
});

describe("the clock check", () => {
  const said = (...offsets: readonly number[]) => {
    const { level, detail } = checkClock(
      offsets.map((offsetMs, i) => ({ source: `node ${i + 1}`, offsetMs })),
    );
    return `${level}: ${detail}`;
  };

  it("blames this machine for what most others say, and another for what it says alone", () => {
    expect(said(100, -200, 300)).toMatch(/^ok/);
    expect(said(-40_000, -40_200, -39_900)).toBe("fail: 40 s ahead of the others (3 asked)");
    expect(said(7_000, 7_100, 6_900)).toBe("warn: 7 s behind the others (3 asked)");
    expect(said(0, 40_000, 100)).toBe("warn: node 2 is 40 s ahead");
    expect(said()).toMatch(/^warn: not checked/);
  });
});

describe("the peers check", () => {
  const peer = (name: string, reachable: boolean) => ({ name, reachable, addresses: [name] });

  it("fails when no live node can be reached, and warns of single ones", () => {
    const level = (live: readonly boolean[], bootstrap: readonly boolean[]) =>
      checkPeers(
        live.map((reachable, i) => peer(`trustee-${i + 2}`, reachable)),
        bootstrap.map((reachable, i) => peer(`address-${i}`, reachable)),
      ).level;
    expect(level([true, true], [true])).toBe("ok");
    expect(level([true, false], [true])).toBe("warn");
    expect(level([false, false], [true])).toBe("fail");
    // All of its bootstrap addresses lead nowhere: it would not come back after a restart.
    expect(level([true], [false])).toBe("warn");
    expect(level([], [false])).toBe("warn");
    expect(level([], [])).toBe("warn");
  });
});

describe("files of a node", () => {
  it("says of a journal whether it can be kept, and where its directory is missing", async () => {
    const scratch = mkdtempSync(join(tmpdir(), "quorate-files-"));
    const journal = (path: string) => checkJournal("vote journal", join(scratch, path));
    expect((await journal("votes.journal")).detail).toContain("will be made");
    expect(await journal("away/votes.journal")).toMatchObject({
      level: "fail",
      detail: expect.stringContaining("away does not exist"),
    });
    rmSync(scratch, { recursive: true });
  });

  it("says why an address could not be asked, in words", async () => {
    // A port of this machine that was free a moment ago.
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    server.close();
    await once(server, "close");
    expect(await probe((signal) => fetch(`http://127.0.0.1:${port}`, { signal }))).toEqual({
      ok: false,
      problem: "the connection is refused",
    });
  });
});
