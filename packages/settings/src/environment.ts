import type { Problem, Setting } from "./load-settings.ts";
import { envNameOf } from "./setting-names.ts";

const PREFIX = "QUORATE_";

/** Variables that are no settings: of the command line, of tools, tests, the start scripts and the compose file. */
export const OTHER_VARIABLES: readonly string[] = [
  "QUORATE_ANVIL",
  "QUORATE_CLUSTER_DIR",
  "QUORATE_CONFIG",
  "QUORATE_ETCD",
  "QUORATE_ETCDCTL",
  "QUORATE_FAULT_POINT",
  "QUORATE_GID",
  "QUORATE_IMAGE",
  "QUORATE_NODE",
  "QUORATE_PG_BIN",
  "QUORATE_PROPERTY_RUNS",
  "QUORATE_PROPERTY_SEED",
  "QUORATE_RPC",
  "QUORATE_SUBMITTER",
  "QUORATE_SUBMITTER_ADDRESS",
  "QUORATE_TOKEN_FILE",
  "QUORATE_UID",
];

// Kubernetes and container links put variables of a service's name into every container beside it: nobody's mistake.
const SERVICE_LINK = /_SERVICE_(?:HOST|PORT(?:_\w+)?)$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?$/;
const SERVICE_ADDRESS = /^(?:tcp|udp|sctp):\/\//;

/**
 * Variables that begin with QUORATE_ and mean nothing to any program of this release: mostly a slip of the pen, and a
 * setting that is silently not in force. Those of the other programs are let pass, for they may share an environment.
 * @param lists the settings of every program
 */
export function unknownVariables(
  env: Readonly<Record<string, string | undefined>>,
  lists: readonly (readonly Setting[])[],
): readonly Problem[] {
  const known = new Set([...lists.flat().map(({ path }) => envNameOf(path)), ...OTHER_VARIABLES]);
  return Object.entries(env).flatMap(([name, text]) => {
    if (!name.startsWith(PREFIX) || known.has(name) || text === undefined || text === "") return [];
    if (SERVICE_LINK.test(name) || SERVICE_ADDRESS.test(text)) return [];
    const message = `is not a setting of any program of this release${didYouMean(name, [...known])}`;
    return [{ path: name, source: "the environment", message }];
  });
}

// One slip in four letters; beyond that a suggestion misleads.
const LETTERS_A_SLIP = 4;

/** `; did you mean X?`, or nothing when no name is near. */
export function didYouMean(name: string, names: readonly string[]): string {
  const slipsMax = Math.ceil(name.replace(PREFIX, "").length / LETTERS_A_SLIP);
  const near = names
    .map((each) => ({ each, slips: slipsBetween(name, each) }))
    .filter(({ slips }) => slips <= slipsMax)
    .toSorted((a, b) => a.slips - b.slips)[0];
  return near === undefined ? "" : `; did you mean ${near.each}?`;
}

/** Letters to change, add or leave out on the way from one to the other. */
function slipsBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (const [i, letter] of from.split("").entries()) {
    const next = [i + 1];
    for (const [j, other] of to.split("").entries())
      next.push(
        Math.min(
          (next[j] ?? 0) + 1,
          (row[j + 1] ?? 0) + 1,
          (row[j] ?? 0) + (letter === other ? 0 : 1),
        ),
      );
    row = next;
  }
  return row.at(-1) ?? 0;
}
