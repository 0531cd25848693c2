import { etcdLeader } from "../rows/etcd-leader.ts";
import { nodeCrash } from "../rows/node-crash.ts";
import { postgresKill } from "../rows/postgres-kill.ts";
import { submitterCrash } from "../rows/submitter-crash.ts";
import type { Row } from "./row.ts";

/** The specification's Table 10, in its order. */
export const ROWS: readonly Row[] = [nodeCrash, etcdLeader, postgresKill, submitterCrash];
