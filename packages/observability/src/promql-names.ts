const WORDS: ReadonlySet<string> = new Set(["and", "or", "unless", "offset", "bool", "inf", "nan"]);
const IDENTIFIER = /[a-zA-Z_:][a-zA-Z0-9_:]*/g;

/** The names of the metrics that an expression asks for, each once. */
export function namesIn(expr: string): readonly string[] {
  const bare = expr
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, "")
    .replaceAll(/\{[^}]*\}/g, " ")
    .replaceAll(/\[[^\]]*\]/g, " ")
    .replaceAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, " ")
    .replaceAll(/\boffset\s+[0-9]+[a-z]+/g, " ");
  const names = new Set<string>();
  for (const match of bare.matchAll(IDENTIFIER)) {
    const before = bare[match.index - 1];
    const isCall = /^\s*\(/.test(bare.slice(match.index + match[0].length));
    const isNumberPart = before !== undefined && /[0-9.]/.test(before);
    if (!isCall && !isNumberPart && !WORDS.has(match[0].toLowerCase())) names.add(match[0]);
  }
  return [...names];
}
