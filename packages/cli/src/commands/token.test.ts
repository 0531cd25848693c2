import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseTokenList } from "@quorate/telemetry";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TOKEN_FILE_ENV, tokenFrom } from "../clients.ts";
import { run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "quorate-token-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
  delete process.env[TOKEN_FILE_ENV];
});

it("a token is told once, and its file keeps what a server needs and nothing that opens it", async () => {
  const file = join(directory, "tokens.json");
  const tokens: string[] = [];
  for (const [name, role] of [
    ["ada", "operate"],
    ["app", "vote"],
  ] as const) {
    const terminal = recordingTerminal();
    const argv = ["token", "create", "--name", name, "--role", role, "--file", file];
    expect(await run(argv, terminal)).toBe(0);
    tokens.push(terminal.stdout().trim());
  }
  const text = readFileSync(file, "utf8");
  const list = parseTokenList(text);
  expect(list.ok && list.value.map(({ name, role }) => [name, role])).toEqual([
    ["ada", "operate"],
    ["app", "vote"],
  ]);
  for (const token of tokens) expect(text).not.toContain(token);
  expect(statSync(file).mode & 0o777).toBe(0o600);

  const terminal = recordingTerminal();
  const again = ["token", "create", "--name", "ada", "--role", "read", "--file", file];
  expect(await run(again, terminal)).toBe(1);
  expect(terminal.stderr()).toContain("the name ada is there twice; nothing was changed");
  expect(readFileSync(file, "utf8")).toBe(text);
});

it("what --token-file names is sent with each request, and refused when others can read it", async () => {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end(JSON.stringify({ bans: [] }));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  const file = join(directory, "token");
  writeFileSync(file, "qrt_secret\n", { mode: 0o600 });
  const argv = ["bans", "--node", `http://127.0.0.1:${port}`, "--token-file", file];
  try {
    expect(await run(argv, recordingTerminal())).toBe(0);
    expect(seen).toEqual(["Bearer qrt_secret"]);
    chmodSync(file, 0o644);
    const terminal = recordingTerminal();
    expect(await run(argv, terminal)).toBe(1);
    expect(terminal.stderr()).toContain(`chmod 600 ${file}`);
    expect(seen).toHaveLength(1);
  } finally {
    server.closeAllConnections();
    server.close();
  }
  expect(tokenFrom({})).toBeUndefined();
});
