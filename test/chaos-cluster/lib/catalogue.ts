import { byzantineNodes } from "../rows/byzantine-nodes.ts";
import { clockSkew } from "../rows/clock-skew.ts";
import { etcdLeader } from "../rows/etcd-leader.ts";
import { messageLoss } from "../rows/message-loss.ts";
import { minorityAttack } from "../rows/minority-attack.ts";
import { networkPartition } from "../rows/network-partition.ts";
import { nodeCrash } from "../rows/node-crash.ts";
import { postgresKill } from "../rows/postgres-kill.ts";
import { submitterCrash } from "../rows/submitter-crash.ts";
import type { Row } from "./row.ts";

/** The specification's Table 10, in its order. */
export const ROWS: readonly Row[] = [
  networkPartition,
  nodeCrash,
  byzantineNodes,
  minorityAttack,
  etcdLeader,
  postgresKill,
  submitterCrash,
  messageLoss,
  clockSkew,
];
