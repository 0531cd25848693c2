import { stripVTControlCharacters } from "node:util";

/** Left-aligned columns under headings, two spaces apart. Cells may hold colours. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  paintHeading: (text: string) => string = (text) => text,
): string {
  const widths = headings.map((heading, i) =>
    Math.max(widthOf(heading), ...rows.map((row) => widthOf(row[i] ?? ""))),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell + " ".repeat(Math.max(0, (widths[i] ?? 0) - widthOf(cell))))
      .join("  ")
      .trimEnd();
  return [paintHeading(line(headings)), ...rows.map(line)].join("\n");
}

/** `name  value` lines with the values under one another; null values are left out. */
export function fields(entries: readonly (readonly [string, string | null])[]): string {
  const shown = entries.filter((entry): entry is [string, string] => entry[1] !== null);
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n");
}

function widthOf(text: string): number {
  return Array.from(stripVTControlCharacters(text)).length;
}
