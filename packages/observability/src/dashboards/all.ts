import type { DashboardSpec } from "../panel.ts";
import { network } from "./network.ts";
import { overview } from "./overview.ts";
import { runtime } from "./runtime.ts";
import { stores } from "./stores.ts";
import { submitter } from "./submitter.ts";
import { votes } from "./votes.ts";

/** All of them, by the name of their file. */
export const DASHBOARDS: Readonly<Record<string, DashboardSpec>> = {
  overview,
  votes,
  network,
  submitter,
  stores,
  runtime,
};
