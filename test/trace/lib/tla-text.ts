/** A value as TLA+ writes it. Records, sequences and sets are told apart by these wrappers. */
export type Tla =
  | string
  | number
  | boolean
  | { readonly name: string }
  | { readonly set: readonly Tla[] }
  | { readonly tuple: readonly Tla[] }
  | { readonly record: Readonly<Record<string, Tla>> };

/** "There is none": the model value that the modules call NONE. */
export const NONE: Tla = { name: "NONE" };

const PLAIN = /^[ -!#-[\]-~]*$/;

export function tlaText(value: Tla): string {
  if (typeof value === "string") {
    if (!PLAIN.test(value)) throw new TypeError(`no text for TLA+: ${JSON.stringify(value)}`);
    return `"${value}"`;
  }
  if (typeof value === "number") return String(value);
  if (typeof value === "boolean") return value ? "TRUE" : "FALSE";
  if ("name" in value) return value.name;
  if ("set" in value) return `{${value.set.map(tlaText).join(", ")}}`;
  if ("tuple" in value) return `<<${value.tuple.map(tlaText).join(", ")}>>`;
  const fields = Object.entries(value.record).map(([key, v]) => `${key} |-> ${tlaText(v)}`);
  return `[${fields.join(", ")}]`;
}
