import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Result } from "@quorate/core";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { readCommandLine } from "./app-command.ts";
import { describeProblems, loadSettings, type Problem, pathBeside } from "./load-settings.ts";
import { type NodeSettings, nodeSchema, retentionOf, submitterSchema } from "./schemas.ts";
import { NODE_SETTINGS, SUBMITTER_SETTINGS } from "./setting-lists.ts";
import { envNameOf } from "./setting-names.ts";

const GOOD = {
  clusterId: "demo",
  nodeId: "trustee-1",
  keyFile: "node.key",
  etcd: { hosts: ["http://127.0.0.1:2379"] },
  network: { listen: ["/ip4/127.0.0.1/tcp/4001"] },
};

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "quorate-settings-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function fileOf(content: object | string): string {
  const file = join(directory, "node.json");
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
}

function load(
  content: object | string | null,
  {
    env = {},
    flags = {},
    set = [],
  }: {
    readonly env?: Readonly<Record<string, string>>;
    readonly flags?: Readonly<Record<string, string>>;
    readonly set?: readonly string[];
  } = {},
): Result<NodeSettings, readonly Problem[]> {
  const file = content === null ? null : fileOf(content);
  return loadSettings({ schema: nodeSchema, settings: NODE_SETTINGS, file, env, flags, set });
}

function problems(result: Result<NodeSettings, readonly Problem[]>): readonly string[] {
  return result.ok ? [] : result.error.map((p) => `${p.path} | ${p.source} | ${p.message}`);
}

describe("where a setting comes from", () => {
  test("a flag wins over the environment, and the environment over the file", () => {
    const content = { ...GOOD, api: { port: 1 } };
    const env = { QUORATE_API_PORT: "2" };
    const port = (result: Result<NodeSettings, readonly Problem[]>): number | null =>
      result.ok ? result.value.api.port : null;
    expect(port(load(GOOD))).toBe(0);
    expect(port(load(content))).toBe(1);
    expect(port(load(content, { env }))).toBe(2);
    expect(port(load(content, { env, flags: { "api-port": "3" } }))).toBe(3);
    expect(port(load(content, { env, flags: { "api-port": "3" }, set: ["api.port=4"] }))).toBe(4);
  });

  test("everything may come from the environment, lists separated by commas", () => {
    const env = {
      QUORATE_CLUSTER_ID: "demo",
      QUORATE_NODE_ID: "trustee-1",
      QUORATE_KEY_FILE: "/run/key",
      QUORATE_ETCD_HOSTS: "http://a:2379, http://b:2379,",
      QUORATE_NETWORK_LISTEN: "/ip4/0.0.0.0/tcp/4001",
    };
    const loaded = load(null, { env });
    expect(loaded.ok && loaded.value.etcd.hosts).toEqual(["http://a:2379", "http://b:2379"]);
  });

  test("a flag replaces one member of a group and leaves the others", () => {
    const content = { ...GOOD, etcd: { ...GOOD.etcd, requestTimeoutMs: 77 } };
    const loaded = load(content, { flags: { etcd: "http://c:2379" } });
    expect(loaded.ok && loaded.value.etcd).toEqual({
      hosts: ["http://c:2379"],
      requestTimeoutMs: 77,
      dialTimeoutMs: 5_000,
    });
  });

  test("every setting that can be given by environment or flag is one of the schema", () => {
    const value = { text: "x", number: "1", list: "x" } as const;
    for (const [schema, settings] of [
      [nodeSchema, NODE_SETTINGS],
      [submitterSchema, SUBMITTER_SETTINGS],
    ] as const) {
      const set = settings.map((s) => `${s.path}=${value[s.kind]}`);
      const result = loadSettings({ schema, settings, file: null, env: {}, flags: {}, set });
      const unknown = result.ok
        ? []
        : result.error.filter((p) => p.message === "is not a setting of this program");
      expect(unknown).toEqual([]);
      const flags = settings.flatMap((s) => (s.flag === undefined ? [] : [s.flag]));
      expect(new Set(flags).size).toBe(flags.length);
      expect(new Set(settings.map((s) => envNameOf(s.path))).size).toBe(settings.length);
    }
  });

  test("names of variables follow from paths", () => {
    expect(envNameOf("etcd.requestTimeoutMs")).toBe("QUORATE_ETCD_REQUEST_TIMEOUT_MS");
    expect(envNameOf("clusterId")).toBe("QUORATE_CLUSTER_ID");
  });

  test("a relative path is beside the file that names it", () => {
    expect(pathBeside("/etc/quorate/node.json", "node.key")).toBe("/etc/quorate/node.key");
    expect(pathBeside("/etc/quorate/node.json", "/run/node.key")).toBe("/run/node.key");
  });
});

describe("what is wrong", () => {
  test("three mistakes from three places are named at once, each with its place", () => {
    const result = load(
      { ...GOOD, clusterId: "Not A Label" },
      { env: { QUORATE_ETCD_HOSTS: "127.0.0.1:2379" }, flags: { "api-port": "eighty" } },
    );
    const found = problems(result);
    expect(found).toHaveLength(3);
    expect(found.join("\n")).toMatch(/^clusterId \| .*node\.json \| cluster id must be/m);
    expect(found.join("\n")).toMatch(/^etcd\.hosts\.0 \| QUORATE_ETCD_HOSTS \| must be a URL/m);
    expect(found.join("\n")).toMatch(/^api\.port \| --api-port \| must be a number/m);
    if (!result.ok) expect(describeProblems(result.error)).toContain("has 3 problems");
  });

  test("an unknown key is named with its path, at any depth", () => {
    const found = problems(load({ ...GOOD, colour: "red", api: { prot: 80 } }));
    expect(found).toEqual([
      expect.stringMatching(/^api\.prot \| .*node\.json \| is not a setting/),
      expect.stringMatching(/^colour \| .*node\.json \| is not a setting/),
    ]);
  });

  test("what is missing says by which variables it can be given, for a whole group too", () => {
    const found = problems(load({ nodeId: "trustee-1", keyFile: "k", network: GOOD.network }));
    expect(found).toEqual([
      expect.stringMatching(/^clusterId .* is missing \(also settable by QUORATE_CLUSTER_ID\)$/),
      expect.stringMatching(/^etcd .* is missing \(also settable by QUORATE_ETCD_HOSTS, /),
    ]);
  });

  test.each([
    ["1", 1],
    ["0", 0],
    ["65535", 65_535],
    ["65536", null],
    ["-1", null],
    ["1.5", null],
    ["1e3", null],
    ["0x10", null],
    ["", null],
    [" 1", null],
    ["99999999999999999999", null],
    ["NaN", null],
  ])("the text %j as a port is %j", (text, port) => {
    const result = load(GOOD, { flags: { "api-port": text } });
    expect(result.ok ? result.value.api.port : null).toBe(port);
    if (!result.ok) expect(result.error.map((p) => p.source)).toEqual(["--api-port"]);
  });

  test("--set takes any setting by its path, and refuses what is none", () => {
    const good = load(GOOD, { set: ["protocol.policy=quarantine-and-continue"] });
    expect(good.ok && good.value.protocol.policy).toBe("quarantine-and-continue");
    const found = problems(load(GOOD, { set: ["protocol.polcy=x", "noequals"] }));
    expect(found).toEqual([
      "protocol.polcy | --set protocol.polcy=x | is not a setting of this program; use --set path=value; did you mean protocol.policy?",
      "noequals | --set noequals | is not a setting of this program; use --set path=value",
    ]);
  });

  test("a share of transactions to trace is a number from 0 to 1, and 0 until told, with a collector too", () => {
    const ratio = (text?: string) => {
      const share = text === undefined ? [] : [`tracing.sampleRatio=${text}`];
      const result = load(GOOD, { set: ["tracing.otlpUrl=http://jaeger:4318", ...share] });
      return result.ok ? result.value.tracing.sampleRatio : null;
    };
    expect([ratio(), ratio("0"), ratio("0.25"), ratio("1")]).toEqual([0, 0, 0.25, 1]);
    expect([ratio("1.1"), ratio("-0.1"), ratio("all"), ratio("NaN")]).toEqual(Array(4).fill(null));
  });

  test("a value with an equals sign is kept whole", () => {
    const result = load(GOOD, { set: ["tracing.otlpUrl=http://a/?b=c"] });
    expect(result.ok && result.value.tracing.otlpUrl).toBe("http://a/?b=c");
  });

  test.each([
    ["{", "is not valid JSON"],
    ["[1]", "must hold one JSON object"],
    ["null", "must hold one JSON object"],
  ])("the file %j is refused: it %s", (text, why) => {
    expect(problems(load(text)).join("\n")).toContain(why);
  });

  test("a file that is not there is named", () => {
    const file = join(directory, "nowhere.json");
    const result = loadSettings({
      schema: nodeSchema,
      settings: NODE_SETTINGS,
      file,
      env: {},
      flags: {},
      set: [],
    });
    expect(problems(result)[0]).toBe(`(file) | ${file} | can't be read: there is no such file`);
  });
});

describe("the command line", () => {
  const app = {
    name: "quorate node",
    description: "Runs one trustee's node.",
    version: "1.2.3",
    schema: nodeSchema,
    settings: NODE_SETTINGS,
  };
  let printed = "";
  const say = (chunk: unknown): boolean => {
    printed += String(chunk);
    return true;
  };
  const read = (...argv: readonly string[]): ReturnType<typeof readCommandLine> => {
    printed = "";
    vi.spyOn(process.stderr, "write").mockImplementation(say);
    vi.spyOn(process.stdout, "write").mockImplementation(say);
    return readCommandLine(app, argv, {});
  };
  afterEach(() => vi.restoreAllMocks());

  test("a good one runs with its settings and its file", () => {
    const file = fileOf(GOOD);
    const line = read("--config", file, "--api-port", "99", "--set", "shutdownMs=5");
    expect(line).toMatchObject({
      kind: "run",
      file,
      settings: { api: { port: 99 }, shutdownMs: 5 },
    });
    expect(printed).toBe("");
  });

  test("an unknown flag ends with code 2 and a suggestion", () => {
    expect(read("--api-prot", "1")).toEqual({ kind: "exit", code: 2 });
    expect(printed).toContain("unknown option '--api-prot'");
    expect(printed).toContain("Did you mean --api-port?");
  });

  test("a stray word ends with code 2", () => {
    expect(read("--config", fileOf(GOOD), "start")).toEqual({ kind: "exit", code: 2 });
  });

  test("a flag without its value ends with code 2", () => {
    expect(read("--api-port")).toEqual({ kind: "exit", code: 2 });
  });

  test("a bad configuration ends with code 2, and all of it is said", () => {
    const file = fileOf({ ...GOOD, nodeId: "", keyFile: "" });
    expect(read("--config", file, "--etcd", "nonsense")).toEqual({ kind: "exit", code: 2 });
    for (const word of ["3 problems", "nodeId", "keyFile", "etcd.hosts", "--etcd", file])
      expect(printed).toContain(word);
  });

  test("help and version end with 0, and help names every setting", () => {
    expect(read("--version")).toEqual({ kind: "exit", code: 0 });
    expect(printed).toBe("1.2.3\n");
    expect(read("--help")).toEqual({ kind: "exit", code: 0 });
    for (const s of NODE_SETTINGS) expect(printed).toContain(envNameOf(s.path));
  });

  test("a configuration that can't be read is named, with the reason", () => {
    expect(read("--config", directory)).toEqual({ kind: "exit", code: 2 });
    expect(printed).toContain(`can't be read: EISDIR (from ${directory})`);
  });
});

describe("where the submitter's key is", () => {
  const SUBMITTER = {
    clusterId: "demo",
    etcd: GOOD.etcd,
    postgres: { url: "postgres://localhost/quorate" },
    chain: {
      rpcUrls: ["http://127.0.0.1:8545"],
      chainId: 1,
      contractAddress: `0x${"c0".repeat(20)}`,
    },
  };
  const ADDRESS = `0x${"aa".repeat(20)}`;
  const submitter = (content: object, env: Record<string, string> = {}) =>
    loadSettings({
      schema: submitterSchema,
      settings: SUBMITTER_SETTINGS,
      file: fileOf(content),
      env,
      flags: {},
      set: [],
    });
  const told = (content: object, env: Record<string, string> = {}): readonly string[] => {
    const result = submitter(content, env);
    return result.ok ? [] : result.error.map(({ path, message }) => `${path}: ${message}`);
  };

  test("is a key file unless told otherwise, so that older configurations stay valid", () => {
    const result = submitter({ ...SUBMITTER, keyFile: "submitter.key" });
    expect(result).toMatchObject({
      ok: true,
      value: { signer: { kind: "keyFile" }, keyFile: "submitter.key" },
    });
    expect(told(SUBMITTER)).toEqual([
      expect.stringMatching(/^keyFile: is missing \(also settable by QUORATE_KEY_FILE\)/),
    ]);
    expect(told(SUBMITTER, { QUORATE_KEY_FILE: "k" })).toEqual([]);
  });

  test("may be a keystore or another process, given by variables too", () => {
    const keystore = { kind: "keystore", file: "ks.json", passwordFile: "ks.password" };
    expect(submitter({ ...SUBMITTER, signer: keystore })).toMatchObject({
      value: { signer: keystore },
    });
    const env = {
      QUORATE_SIGNER_KIND: "remote",
      QUORATE_SIGNER_URL: "https://signer:9000",
      QUORATE_SIGNER_ADDRESS: ADDRESS,
      QUORATE_SIGNER_AUTHORIZATION_FILE: "token",
    };
    expect(submitter(SUBMITTER, env)).toMatchObject({
      value: {
        signer: {
          kind: "remote",
          url: "https://signer:9000",
          address: ADDRESS,
          timeoutMs: 10_000,
          authorizationFile: "token",
        },
      },
    });
  });

  test("is told in full: what a kind needs, and no key file beside another kind", () => {
    expect(told({ ...SUBMITTER, keyFile: "k", signer: { kind: "keystore", file: "ks" } })).toEqual([
      expect.stringMatching(/^signer\.passwordFile: is missing \(also settable by /),
      'keyFile: is used with signer.kind "keyFile" only: leave it out',
    ]);
    expect(
      told({ ...SUBMITTER, signer: { kind: "remote", url: "ws://x", address: "0x1" } }),
    ).toEqual([
      expect.stringMatching(/^signer\.url: must be a URL/),
      expect.stringMatching(/^signer\.address: /),
    ]);
    expect(told({ ...SUBMITTER, signer: { kind: "usb" } })).toEqual([
      expect.stringMatching(/^signer\.kind: /),
    ]);
    // All that is wrong at once, this included.
    expect(
      told({ ...SUBMITTER, clusterId: "", colour: "red" }).map((p) => p.split(":")[0]),
    ).toEqual(["clusterId", "colour", "keyFile"]);
  });
});

const SUBMITTER_GOOD = {
  clusterId: "demo",
  keyFile: "evm.key",
  etcd: { hosts: ["http://127.0.0.1:2379"] },
  postgres: { url: "postgres://127.0.0.1/quorate" },
  chain: {
    rpcUrls: ["http://127.0.0.1:8545"],
    chainId: 31_337,
    contractAddress: `0x${"c0".repeat(20)}`,
  },
};

describe("retention", () => {
  const rules = (retention: object, deadlineMs = 30_000) => {
    const { retention: parsed } = submitterSchema.parse({
      ...SUBMITTER_GOOD,
      retention,
      protocol: { deadlineMs },
    });
    return retentionOf({ retention: parsed, protocol: { deadlineMs } });
  };

  test("purges nothing early before its deadline, however long that is", () => {
    expect(rules({}).earlyAfterMs).toBe(300_000);
    expect(rules({}, 600_000).earlyAfterMs).toBe(600_000);
    expect(rules({ earlyAfterMs: 700_000 }, 600_000).earlyAfterMs).toBe(700_000);
  });

  test("is refused when it contradicts itself, by the setting's name", () => {
    const problem = (retention: object) =>
      submitterSchema
        .safeParse({ ...SUBMITTER_GOOD, retention })
        .error?.issues.map((issue) => issue.path.join("."));
    expect(problem({ recordsMs: 1_000 })).toEqual(["retention.recordsMs"]);
    expect(problem({ earlyAfterMs: 1_000 })).toEqual(["retention.earlyAfterMs"]);
    expect(problem({ highMark: 0.5 })).toEqual(["retention.lowMark"]);
  });
});
