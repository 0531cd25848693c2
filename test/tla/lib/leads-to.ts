/** One property `\A x \in S : P ~> Q` of a module, and what to add to the module so that a step can be asked whether it keeps P. */
export interface LeadsTo {
  /** The name of the added predicate of steps: P => P' \/ Q'. */
  readonly stays: string;
  /** Those it needs, and its own. Two properties may need the same one. */
  readonly definitions: readonly string[];
}

/** A definition's parameters and body, as they stand in the text. */
interface Definition {
  readonly parameters: string;
  readonly body: string;
}

function definitionOf(source: string, name: string): Definition | null {
  const found = new RegExp(
    `^${name}(\\([^)\\n]*\\))? ==((?:[^\\n]*\\n)(?:[ \\t]+\\S[^\\n]*\\n|[ \\t]*\\n(?=[ \\t]+\\S))*)`,
    "m",
  ).exec(source);
  return found === null ? null : { parameters: found[1] ?? "", body: found[2] ?? "" };
}

const variablesOf = (source: string): ReadonlySet<string> =>
  new Set(
    /^VARIABLES ([^\n]+)$/m
      .exec(source)?.[1]
      ?.split(",")
      .map((name) => name.trim()),
  );

/** Writes formulas in terms of the next state. tla-checker primes variables only: of `(P)'` it takes the whole definition away. */
class NextState {
  readonly #variables: ReadonlySet<string>;
  readonly #source: string;
  /** The primed copies of the operators that were met, by the operator's name; null for one without a variable in it. */
  readonly #copies = new Map<string, string | null>();

  constructor(source: string) {
    this.#source = source;
    this.#variables = variablesOf(source);
  }

  get definitions(): readonly string[] {
    return [...this.#copies.values()].filter((text) => text !== null);
  }

  prime(formula: string): string {
    // A word after "." or before "|->" is a record's field, one in quotes is text.
    return formula.replaceAll(
      /"[^"]*"|(?<![.\w\\])[A-Za-z]\w*(?!\w)(?!\s*\|->)/g,
      (word: string) => {
        if (word.startsWith('"')) return word;
        if (this.#variables.has(word)) return `${word}'`;
        return this.#hasCopy(word) ? `${word}InNextState` : word;
      },
    );
  }

  #hasCopy(name: string): boolean {
    const known = this.#copies.get(name);
    if (known !== undefined) return known !== null;
    const definition = definitionOf(this.#source, name);
    this.#copies.set(name, null);
    if (definition === null) return false;
    const body = this.prime(definition.body);
    if (body === definition.body) return false;
    this.#copies.delete(name);
    this.#copies.set(name, `${name}InNextState${definition.parameters} ==${body}`);
    return true;
  }
}

/**
 * Reads a property of the form `\A x \in S : P ~> Q`; anything else that is no property of steps is an error.
 *
 * tla-checker looks for P in the cycle that a behaviour ends in, and nowhere before it. A P that is true only for a while is
 * never found there, and the property holds whatever Q is. So P must stay true until Q is: then P without Q is in the cycle.
 */
export function leadsTo(name: string, source: string): LeadsTo {
  const body = definitionOf(source, name)?.body ?? "";
  const [, quantifiers = "", formula = ""] = /^\s*((?:\\A [^:]+:\s*)*)([\s\S]*)$/.exec(body) ?? [];
  const [left = "", right, ...more] = formula.split("~>");
  if (right === undefined || more.length > 0 || left.includes("[]") || right.includes("[]"))
    throw new Error(`${name} must be [][A]_vars, or \\A x \\in S : P ~> Q`);
  const bound = [...quantifiers.matchAll(/\\A ([\w, ]+?) \\in /g)].map(([, names]) => names);
  const parameters = bound.length === 0 ? "" : `(${bound.join(", ")})`;
  const next = new NextState(source);
  const [leftNext, rightNext] = [next.prime(left.trim()), next.prime(right)];
  const definitions = [
    ...next.definitions,
    `${name}Left${parameters} == ${left.trim()}\n`,
    `${name}LeftNext${parameters} == ${leftNext}\n`,
    `${name}RightNext${parameters} ==${rightNext}`,
    [
      `${name}Stays ==`,
      `  ${quantifiers.trim()}`,
      `    ${name}Left${parameters} => (${name}LeftNext${parameters} \\/ ${name}RightNext${parameters})`,
      "",
    ].join("\n"),
  ];
  return { stays: `${name}Stays`, definitions };
}
