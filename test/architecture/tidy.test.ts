import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

const files = globSync(["packages/*/src/**/*.ts", "test/**/*.ts"], { cwd: REPOSITORY })
  .filter((file) => !file.endsWith(".generated.ts") && !file.includes("node_modules"))
  .map((file) => file.split(sep).join("/"))
  .sort();
const read = (file: string): string => readFileSync(join(REPOSITORY, file), "utf8");

const LINES_MAX = 500;
// One port's contract is one text, and nobody is helped by its being cut in two.
const CONTRACT_LINES_MAX = 1_000;
/** Longer ones, each with its own limit. An entry that is no longer needed fails, too. */
const LONG_FILES: Readonly<Record<string, { readonly linesMax: number; readonly why: string }>> = {
  "packages/testkit/src/memory-tally-store.ts": {
    linesMax: 650,
    why: "stands for a whole server: revisions, watches, leases and elections share its state",
  },
  "packages/engine/src/vote-pipeline.ts": {
    linesMax: 600,
    why: "one queue, whose steps share their bookkeeping",
  },
};

const limitOf = (file: string): number =>
  LONG_FILES[file]?.linesMax ?? (file.endsWith(".contract.ts") ? CONTRACT_LINES_MAX : LINES_MAX);
const linesOf = (text: string): number => text.replace(/\n$/, "").split("\n").length;
const KEBAB_CASE = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.(?:integration|contract|d))?(?:\.test)?\.ts$/;
const DEFAULT_EXPORT = /^\s*export\s+default\b|^\s*export\s*\{[^}]*\bas\s+default\b/m;
const STAR_EXPORT = /^\s*export\s+(?:type\s+)?\*/m;
const isIndexInside = (file: string): boolean =>
  basename(file) === "index.ts" && !/^packages\/[^/]+\/src$/.test(dirname(file));

describe("the source", () => {
  it("is found at all", () => {
    expect(files.length).toBeGreaterThan(100);
    expect(files).toContain("packages/core/src/decide.ts");
  });

  it(`has no file over ${LINES_MAX} lines without a reason`, () => {
    const long = files.filter((file) => linesOf(read(file)) > limitOf(file));
    expect(long).toEqual([]);
  });

  it("keeps no exception for a file that has become short or has gone", () => {
    const needless = Object.keys(LONG_FILES).filter(
      (file) => !files.includes(file) || linesOf(read(file)) <= LINES_MAX,
    );
    expect(needless).toEqual([]);
  });

  it("names its files in kebab-case", () => {
    expect(files.filter((file) => !KEBAB_CASE.test(basename(file)))).toEqual([]);
  });

  it("has no default export: a name is the same wherever it is used", () => {
    expect(files.filter((file) => DEFAULT_EXPORT.test(read(file)))).toEqual([]);
  });

  it("has an index.ts at a package's root only, and exports nothing by star", () => {
    expect(files.filter(isIndexInside)).toEqual([]);
    // The import reader's test shows one to the reader.
    const sources = files.filter((file) => file !== "test/architecture/layering.test.ts");
    expect(sources.filter((file) => STAR_EXPORT.test(read(file)))).toEqual([]);
  });
});

describe("the tidiness checks", () => {
  it("tell bad names from good ones", () => {
    expect(
      ["a.ts", "a-b.test.ts", "a-b.integration.test.ts", "x.contract.ts", "y.d.ts"].every((n) =>
        KEBAB_CASE.test(n),
      ),
    ).toBe(true);
    expect(
      ["A.ts", "aB.ts", "a_b.ts", "a--b.ts", "-a.ts", "a.spec.ts"].some((n) => KEBAB_CASE.test(n)),
    ).toBe(false);
  });

  it("see default and star exports", () => {
    for (const text of [
      "export default 1;",
      "  export default class {}",
      "export { a as default };",
      "export { b, a as default } from 'x';",
    ])
      expect(DEFAULT_EXPORT.test(text)).toBe(true);
    for (const text of ["export const defaultValue = 1;", "export { defaults };"])
      expect(DEFAULT_EXPORT.test(text)).toBe(false);
    for (const text of [
      'export * from "./a.ts";',
      'export * as a from "x";',
      'export type * from "x";',
    ])
      expect(STAR_EXPORT.test(text)).toBe(true);
    expect(STAR_EXPORT.test('export { a } from "./a.ts";')).toBe(false);
  });

  it("count lines as an editor does, and know where an index belongs", () => {
    expect([linesOf("a\n"), linesOf("a\nb"), linesOf("a\nb\n")]).toEqual([1, 2, 2]);
    expect(isIndexInside("packages/core/src/index.ts")).toBe(false);
    expect(isIndexInside("packages/core/src/deep/index.ts")).toBe(true);
    expect(isIndexInside("test/property/index.ts")).toBe(true);
  });
});
