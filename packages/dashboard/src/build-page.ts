import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const ROOT = new URL("../", import.meta.url);
const pathOf = (name: string): string => fileURLToPath(new URL(name, ROOT));

/** The page's files, by name, as they belong in `dist-assets`. The same source always gives the same bytes. */
export async function buildPage(): Promise<ReadonlyMap<string, string>> {
  const { outputFiles } = await build({
    entryPoints: { page: pathOf("page/main.tsx") },
    outdir: pathOf("dist-assets"),
    bundle: true,
    minify: true,
    legalComments: "inline",
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    write: false,
    logLevel: "silent",
  });
  const files = new Map([["index.html", readFileSync(pathOf("page/index.html"), "utf8")]]);
  for (const { path, text } of outputFiles) files.set(path.slice(path.lastIndexOf("/") + 1), text);
  return files;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(pathOf("dist-assets"), { recursive: true });
  for (const [name, text] of await buildPage()) {
    writeFileSync(pathOf(`dist-assets/${name}`), text);
    process.stderr.write(`dist-assets/${name}: ${Math.round(text.length / 1_024)} KiB\n`);
  }
}
