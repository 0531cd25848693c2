import { type Attack } from "../lib/attack.ts";
import { FLOOD, honestShareUnder } from "../lib/throughput.ts";

export const floodOutsider: Attack = {
  name: "flood-outsider",
  does: `a stranger sends every node ${FLOOD.perSecond} well-enveloped messages a second, 100 times what a trustee sends, and comes back under another key whenever it is cut off`,
  expects: "honest throughput stays above 80 % of what it was just before; nobody is banned",
  reaction: {
    kind: "nobody",
    refusedBy: ["author_not_trustee", "unknown_author", "rate_limited"],
  },
  sharesCluster: true,
  short: false,
  run: async (stage) => {
    const { key, peer } = await stage.joinAsStranger();
    await honestShareUnder(stage, peer, {
      seed: key.seed,
      junk: { kind: "noise" },
      changesKeys: true,
    });
    await stage.round();
  },
};
