/** One mention of a module in a source text. */
export interface Import {
  /** Null when it is computed at run time. */
  readonly specifier: string | null;
  /** Gone after compilation: `import type`, `export type`, `typeof import()`. */
  readonly typeOnly: boolean;
  readonly line: number;
}

const GAP = String.raw`(?:\s|/\*[^*]*\*/)*`;
// Not inside a string, as in ["from", "to"], and not a member of something.
const START = String.raw`(?<!["'\`.])\b`;
const MENTIONS: readonly RegExp[] = [
  new RegExp(String.raw`${START}from${GAP}(["'])(?<specifier>[^"'\n]+)\1`, "g"),
  new RegExp(String.raw`${START}import${GAP}(["'])(?<specifier>[^"'\n]+)\1`, "g"),
  new RegExp(
    String.raw`${START}(?:import|require)${GAP}\(${GAP}(?:(["'\`])(?<specifier>[^"'\`\n$]+)\1)?`,
    "g",
  ),
  /^\s*\/\/\/\s*<reference\s+(?:types|path)=(["'])(?<specifier>[^"']+)\1/gm,
];

/**
 * Every module that a TypeScript source mentions: static, dynamic and type imports,
 * re-exports, require calls and reference directives. By pattern, for TypeScript 7 has no
 * compiler API; it would rather see an import too many than miss one.
 */
export function readImports(source: string): readonly Import[] {
  const text = withoutComments(source);
  return MENTIONS.flatMap((pattern) =>
    [...text.matchAll(pattern)].map((match) => ({
      specifier: match.groups?.["specifier"] ?? null,
      typeOnly: isTypeOnly(text.slice(0, match.index), match[0]),
      line: text.slice(0, match.index).split("\n").length,
    })),
  );
}

function isTypeOnly(before: string, mention: string): boolean {
  if (mention.startsWith("///")) return true;
  if (mention.startsWith("import")) return /\btypeof\s*$/.test(before);
  // `from "x"`: the statement is what follows the last import or export; its clause holds no "=" and no call.
  const clause = before.match(/(?:^|[\s;}])(?:import|export)\b([^"'`;=()]*)$/);
  return clause !== null && /^\s+type\b(?!\s*,)(?!\s*$)/.test(clause[1] ?? "");
}

/** Blanks whole-line comments, where prose may speak of imports; lines keep their numbers. */
function withoutComments(source: string): string {
  let inBlock = false;
  return source
    .split("\n")
    .map((line) => {
      const text = line.trimStart();
      if (inBlock) {
        if (!line.includes("*/")) return "";
        inBlock = false;
        return line.slice(line.indexOf("*/") + 2);
      }
      if (text.startsWith("//") && !text.startsWith("///")) return "";
      if (!text.startsWith("/*")) return line;
      if (text.includes("*/")) return text.slice(text.indexOf("*/") + 2);
      inBlock = true;
      return "";
    })
    .join("\n");
}
