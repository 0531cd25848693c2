import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { checkLayering } from "./check-layering.ts";
import { readImports } from "./read-imports.ts";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

const made: string[] = [];
afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const manifest = (
  name: string,
  dependencies: readonly string[],
  devDependencies: readonly string[] = [],
): string =>
  JSON.stringify({
    name: `@quorate/${name}`,
    exports: { ".": { "@quorate/source": "./src/index.ts" } },
    dependencies: Object.fromEntries(dependencies.map((d) => [d, "*"])),
    devDependencies: Object.fromEntries(devDependencies.map((d) => [d, "*"])),
  });

/** A small repository in which everything is allowed. */
const CLEAN: Readonly<Record<string, string>> = {
  "package.json": JSON.stringify({ devDependencies: { vitest: "*", "fast-check": "*" } }),
  "packages/core/package.json": manifest("core", ["@noble/hashes"]),
  "packages/core/src/index.ts": `
    import { blake3 } from "@noble/hashes/blake3.js";
    export { rule } from "./deep/rule.ts";
    // import { readFileSync } from "node:fs";
    /**
     * As in import x from "@quorate/engine" and import("left-pad").
     */
    export const hash = blake3;
  `,
  "packages/core/src/deep/rule.ts": "export const rule = 1;\n",
  "packages/core/src/rule.test.ts": `import { test } from "vitest"; import fs from "node:fs";\n`,
  "packages/ports/package.json": manifest("ports", ["@quorate/core"]),
  "packages/ports/src/index.ts": `
    import type { Rule } from "@quorate/core";
    import type { Readable } from "node:stream";
    export type { Writable } from "node:stream";
    export interface Port { rule: Rule; in: Readable }
  `,
  "packages/engine/package.json": manifest(
    "engine",
    ["@quorate/core", "@quorate/ports", "lru-cache"],
    ["@quorate/testkit"],
  ),
  "packages/engine/src/index.ts": `
    import { rule } from "@quorate/core";
    import { LRUCache } from "lru-cache";
    export const cache = new LRUCache({ max: rule });
  `,
  "packages/engine/src/world.ts": `import { clock } from "@quorate/testkit"; export { clock };\n`,
  "packages/engine/src/index.test.ts": `import "./world.ts"; import "vitest";\n`,
  "packages/testkit/package.json": manifest("testkit", ["@quorate/core", "vitest"]),
  "packages/testkit/src/index.ts": `export const clock = 1;\n`,
  "packages/store-etcd/package.json": manifest("store-etcd", ["@quorate/core", "etcd3"]),
  "packages/store-etcd/src/index.ts": `
    import { Etcd3 } from "etcd3";
    import { readFile } from "node:fs/promises";
    export const read = [Etcd3, readFile];
  `,
  "packages/telemetry/package.json": manifest("telemetry", ["@quorate/core"]),
  "packages/telemetry/src/index.ts": "export const x = 1;\n",
  "packages/node/package.json": manifest("node", ["@quorate/core", "@quorate/engine"]),
  "packages/node/src/index.ts": `import { cache } from "@quorate/engine"; export { cache };\n`,
};

/** What the check says of the small repository with these files put in or replaced. */
function check(planted: Readonly<Record<string, string>>): readonly string[] {
  const root = mkdtempSync(join(tmpdir(), "quorate-layering-"));
  made.push(root);
  for (const [file, text] of Object.entries({ ...CLEAN, ...planted })) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return checkLayering(root);
}

describe("the layering", () => {
  it("holds in this repository", () => {
    expect(checkLayering(REPOSITORY)).toEqual([]);
  });

  it("holds in the fixture as long as nothing is planted", () => {
    expect(check({})).toEqual([]);
  });

  const core = "packages/core/src/planted.ts";
  const ports = "packages/ports/src/planted.ts";
  const engine = "packages/engine/src/planted.ts";
  const etcd = "packages/store-etcd/src/planted.ts";
  it.each<[what: string, file: string, text: string, why: string]>([
    ["a Node module in core", core, 'import fs from "node:fs";', "knows nothing of Node"],
    ["a Node type in core", core, 'import type { Stats } from "node:fs";', "knows nothing of Node"],
    ["a Node module in engine", engine, 'import "node:events";', "knows nothing of Node"],
    ["a Node value in ports", ports, 'import { Readable } from "node:stream";', "types of Node"],
    ["a Node value beside types in ports", ports, 'import { type X } from "node:os";', "types of"],
    ["a Node value re-exported by ports", ports, 'export { sep } from "node:path";', "types of"],
    ["a Node module without node:", etcd, 'import fs from "fs";', "written node:"],
    ["ports in core", core, 'import type { P } from "@quorate/ports";', "may not import ports"],
    ["a vendor in core", core, 'import { z } from "zod";', "no vendor of core"],
    ["a vendor in ports", ports, 'import { z } from "zod";', "no vendor of ports"],
    ["a type vendor in ports", ports, 'import type { z } from "zod";', "no vendor of ports"],
    [
      "an adapter in engine",
      engine,
      'await import("@quorate/store-etcd");',
      "may not import store",
    ],
    ["an adapter's type in engine", engine, 'type X = import("@quorate/telemetry").X;', "may not"],
    ["an adapter in an adapter", etcd, 'export { x } from "@quorate/telemetry";', "may not import"],
    ["engine in an adapter", etcd, 'import "@quorate/engine";', "may not import engine"],
    ["an app in a library", engine, 'import { n } from "@quorate/node";', "nothing imports an app"],
    ["testkit in production", engine, 'import { c } from "@quorate/testkit";', "(production)"],
    ["vitest in production", engine, 'import { test } from "vitest";', "(production)"],
    ["another package by path", etcd, 'import "../../core/src/index.ts";', "leaves its package"],
    ["another package's inside", etcd, 'import "@quorate/core/src/deep/rule.ts";', "not exported"],
    ["a vendor that is not declared", etcd, 'import pg from "pg";', "not among the dependencies"],
    ["a vendor's inside, not declared", etcd, 'import "pg/lib/x.js";', "not among the dep"],
    ["a package that is not declared", etcd, 'import "@quorate/ports";', "not declared"],
    ["a package that does not exist", etcd, 'import "@quorate/left-pad";', "no such package"],
    ["an import over several lines", core, 'import {\n  a,\n  b,\n} from "node:os";', "of Node"],
    ["an import with a comment in it", core, 'import a from /* x */ "node:os";', "of Node"],
    ["an import behind a comment", core, '/* x */ import a from "node:os";', "of Node"],
    ["a require", core, 'const a = require("node:os");', "of Node"],
    ["a reference directive", core, '/// <reference types="node" />', "no vendor of core"],
    ["a computed import", etcd, "await import(name);", "computed imports"],
    ["a computed template import", etcd, "await import(`./${name}.ts`);", "computed imports"],
    ["a test in production", engine, 'import "./index.test.ts";', "imports a test"],
    ["a file that is not there", engine, 'import "./nowhere.ts";', "no such file"],
    ["anything deep in a folder", "packages/core/src/a/b/c.ts", 'import "node:os";', "of Node"],
  ])("catches %s", (_, file, text, why) => {
    const found = check({ [file]: `${text}\nexport {};\n` });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`${file}:`);
    expect(found[0]).toContain(why);
  });

  it("catches test support that production has come to import", () => {
    const found = check({
      "packages/engine/src/index.ts": `export { clock } from "./world.ts";\n`,
    });
    expect(found).toEqual([
      "packages/engine/src/world.ts:1 imports @quorate/testkit: engine may not import testkit (production)",
    ]);
  });

  it.each([
    [
      "packages/core/package.json",
      manifest("core", ["@noble/hashes", "zod"]),
      "core depends on zod",
    ],
    [
      "packages/engine/package.json",
      manifest(
        "engine",
        ["@quorate/core", "@quorate/store-etcd", "lru-cache"],
        ["@quorate/testkit"],
      ),
      "engine depends on @quorate/store-etcd",
    ],
    [
      "packages/telemetry/package.json",
      manifest("telemetry", ["@quorate/node"]),
      "telemetry depends on @quorate/node",
    ],
  ])("catches a dependency that %s may not have", (file, text, problem) => {
    expect(check({ [file]: text })).toEqual([`packages/${problem}`]);
  });

  it("catches a package that nobody has given a layer", () => {
    expect(check({ "packages/new-thing/package.json": manifest("new-thing", []) })).toEqual([
      "packages/new-thing has no layer",
    ]);
  });

  it("says the line", () => {
    const [found] = check({ [core]: '\n\nimport "node:os";\n' });
    expect(found).toMatch(/planted\.ts:3 imports node:os/);
  });
});

describe("readImports", () => {
  it("reads statement after statement, types apart from values", () => {
    const source = `
      import type { A } from "a";
      import { type B, c } from 'b';
      import type from "c";
      import type D, { E } from "d";
      export type { F } from "e";
      export * from "f";
      export const g = 1;
      const i = ["from", "to", "import", "x"].filter(Array.from);
      const h: typeof import("g") = await import("h");
    `;
    expect(readImports(source).map((i) => `${i.specifier}${i.typeOnly ? " type" : ""}`)).toEqual([
      "a type",
      "b",
      "c",
      "d type",
      "e type",
      "f",
      "g type",
      "h",
    ]);
  });
});
