/** Anything as plain JSON that two stores must agree on: numbers of any size as text, maps and sets in the order of their keys, bytes in hex. */
export function canonical(value: unknown): unknown {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (value instanceof Map)
    return [...value].map(([key, inner]) => [key, canonical(inner)]).sort(byText);
  if (value instanceof Set) return [...value].map(canonical).sort(byText);
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== "object" || value === null) return value;
  const fields: readonly [string, unknown][] = Object.entries(value);
  return Object.fromEntries(
    fields
      .filter(([, inner]) => inner !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, canonical(inner)]),
  );
}

/** The same without an order: what a port promises as a set. */
export function unordered(values: Iterable<unknown>): readonly unknown[] {
  return [...values].map(canonical).sort(byText);
}

function byText(one: unknown, other: unknown): number {
  const a = JSON.stringify(one);
  const b = JSON.stringify(other);
  return a < b ? -1 : a > b ? 1 : 0;
}
