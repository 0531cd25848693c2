import type { NodeStatus } from "@quorate/localcluster/client";
import type { Style } from "../terminal.ts";
import { fields, table } from "./table.ts";

/** A node and its cluster for a person. */
export function renderStatus(status: NodeStatus, style: Style): string {
  const { specified, safety, liveness } = status.faultBounds;
  const head = fields([
    ["node", `${style.bold(status.nodeId)} (${status.peerId})`],
    ["cluster", `${status.clusterId}, epoch ${status.epoch}`],
    ["threshold", `${status.threshold} of ${status.totalNodes}`],
    ["tolerates", `f = ${specified} as specified; safety ${safety}, liveness ${liveness}`],
    ["version", status.version],
    ["ready", status.ready ? style.good("yes") : style.bad("no")],
    ["open", `${status.openTransactions} transactions, ${status.pendingVotes} pending votes`],
  ]);
  const checks = table(
    ["CHECK", "", "DETAIL"],
    status.checks.map((c) => [c.name, c.ok ? style.good("ok") : style.bad("not ok"), c.detail]),
    style.dim,
  );
  const trustees = table(
    ["TRUSTEE", "STATE", "VERSION", "API", "PEER"],
    status.trustees.map((t) => [
      t.nodeId,
      t.banned
        ? style.bad(`banned: ${t.banReason ?? "unknown reason"}`)
        : t.online
          ? style.good("online")
          : style.warn("offline"),
      t.version ?? "-",
      t.apiUrl ?? "-",
      t.peerId,
    ]),
    style.dim,
  );
  const observers = table(
    ["NO TRUSTEE", "STATE", "VERSION", "SINCE", "PEER"],
    status.observers.map((o) => [
      o.nodeId,
      o.draining ? style.warn("draining") : "observes",
      o.version,
      o.since,
      o.peerId,
    ]),
    style.dim,
  );
  const warnings = status.faultBounds.warnings.map((w) => style.warn(`warning: ${w}`));
  const lists = status.observers.length === 0 ? [trustees] : [trustees, observers];
  return [head, checks, ...lists, ...warnings].join("\n\n");
}
