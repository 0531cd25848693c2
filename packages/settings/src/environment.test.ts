import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unknownVariables } from "./environment.ts";
import { loadSettings } from "./load-settings.ts";
import { nodeSchema } from "./schemas.ts";
import { NODE_SETTINGS, SUBMITTER_SETTINGS } from "./setting-lists.ts";

const LISTS = [NODE_SETTINGS, SUBMITTER_SETTINGS];
const messages = (env: Readonly<Record<string, string>>): readonly string[] =>
  unknownVariables(env, LISTS).map(({ path, message }) => `${path} ${message}`);

describe("a variable that begins with QUORATE_ and is nobody's", () => {
  test("is a problem that names the one that was meant", () => {
    const none = "is not a setting of any program of this release";
    expect(messages({ QUORATE_ETCD_HOST: "http://a" })).toEqual([
      `QUORATE_ETCD_HOST ${none}; did you mean QUORATE_ETCD_HOSTS?`,
    ]);
    expect(messages({ QUORATE_API_PROT: "1" })[0]).toContain("did you mean QUORATE_API_PORT?");
    expect(messages({ QUORATE_SOMETHING_ELSE_ALTOGETHER: "1" })).toEqual([
      `QUORATE_SOMETHING_ELSE_ALTOGETHER ${none}`,
    ]);
  });

  test("is told with all else that is wrong", () => {
    const loaded = loadSettings({
      schema: nodeSchema,
      settings: NODE_SETTINGS,
      file: null,
      env: {
        QUORATE_CLUSTER_ID: "demo",
        QUORATE_NODE_ID: "trustee-1",
        QUORATE_KEYFILE: "node.key",
        QUORATE_ETCD_HOSTS: "http://a:2379",
        QUORATE_API_PORT: "many",
        QUORATE_NETWORK_LISTEN: "/ip4/0.0.0.0/tcp/4001",
      },
      flags: {},
      set: ["api.hots=a"],
    });
    const paths = loaded.ok ? [] : loaded.error.map(({ path }) => path);
    expect(new Set(paths)).toEqual(new Set(["QUORATE_KEYFILE", "api.hots", "api.port", "keyFile"]));
    const text = loaded.ok ? "" : JSON.stringify(loaded.error);
    expect(text).toContain("did you mean QUORATE_KEY_FILE?");
    expect(text).toContain("did you mean api.host?");
  });

  test("is let pass when it is empty, of another program, or of a service beside it", () => {
    const fine = {
      QUORATE_EMPTY: "",
      QUORATE_POSTGRES_URL: "postgres://a/b",
      QUORATE_CONFIG: "/etc/quorate/node.json",
      QUORATE_NODE_SERVICE_HOST: "10.0.0.1",
      QUORATE_NODE_SERVICE_PORT_GOSSIP: "4001",
      QUORATE_NODE_PORT: "tcp://10.0.0.1:4001",
      QUORATE_NODE_PORT_4001_TCP_ADDR: "10.0.0.1",
      HOME: "/",
    };
    expect(messages(fine)).toEqual([]);
  });
});

test("no text of this project names a variable that its programs would refuse", () => {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const patterns = [
    "packages/*/{src,bin}/**/*.{ts,mjs}",
    "scripts/**/*.mjs",
    "deploy/**/*",
    "test/**/*.ts",
    "docs/**/*.md",
    "docker-compose.yml",
    "README.md",
  ];
  const files = globSync(patterns, { cwd: root, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".test.ts"))
    .map((entry) => join(entry.parentPath, entry.name));
  expect(files.length).toBeGreaterThan(300);
  const named = new Set(
    files.flatMap((file) => [
      ...(readFileSync(file, "utf8").match(/\bQUORATE_[A-Z0-9]+(?:_[A-Z0-9]+)*\b/g) ?? []),
    ]),
  );
  const env = Object.fromEntries([...named].map((name) => [name, "1"]));
  expect(messages(env)).toEqual([]);
});
