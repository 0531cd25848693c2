import { stripVTControlCharacters } from "node:util";
import type { NodeStatus } from "@quorate/localcluster/client";
import type { SenderView } from "../commands/submissions-client.ts";
import { fields, table } from "../render/table.ts";
import type { Style } from "../terminal.ts";
import type { WatchedTransaction, WatchSnapshot } from "./snapshot.ts";

/** One picture of the cluster, no wider and no higher than it may be. Texts from the network lose their control characters. */
export function watchFrame(
  snapshot: WatchSnapshot,
  style: Style,
  size: { readonly columns: number; readonly rows: number },
): string {
  const lines = [
    ...heading(snapshot, style),
    "",
    ...trusteeLines(snapshot, style),
    "",
    ...submitterLines(snapshot, style),
    "",
    ...transactionLines(snapshot, style),
  ];
  return lines
    .slice(0, Math.max(1, size.rows))
    .map((line) => cut(line, size.columns))
    .join("\n");
}

/** The same in one line, for a log. */
export function watchLine({ node, submitter }: WatchSnapshot): string {
  const parts: string[] = [];
  if ("problem" in node) parts.push(`node: ${node.problem}`);
  else {
    const { trustees, ready, checks, openTransactions, pendingVotes, epoch } = node.value;
    const online = trustees.filter((t) => t.online && !t.banned).length;
    const banned = trustees.filter((t) => t.banned).map((t) => t.nodeId);
    const bad = checks.filter((c) => !c.ok).map((c) => `${c.name}: ${c.detail}`);
    parts.push(
      ready ? "ready" : `not ready (${bad.join("; ")})`,
      `epoch ${epoch}`,
      `${online} of ${trustees.length} trustees online`,
      ...(banned.length === 0 ? [] : [`banned: ${banned.join(" ")}`]),
      `${openTransactions} open`,
      `${pendingVotes} votes pending`,
    );
  }
  if ("problem" in submitter) parts.push(`submitter: ${submitter.problem}`);
  else parts.push(`submitter: ${countsOf(submitter.value)}${frozenOf(submitter.value)}`);
  return stripVTControlCharacters(parts.join(", "));
}

function heading({ node, nodeUrl, atMs }: WatchSnapshot, style: Style): readonly string[] {
  const time = style.dim(new Date(atMs).toISOString().slice(11, 19));
  if ("problem" in node)
    return [`${style.bad("no answer")}  ${nodeUrl}  ${time}`, plain(node.problem)];
  const { clusterId, nodeId, epoch, threshold, totalNodes, ready, checks, version } = node.value;
  const bad = checks.filter((c) => !c.ok).map((c) => `${c.name}: ${c.detail}`);
  return [
    `${style.bold(plain(clusterId))}  epoch ${epoch}, ${threshold} of ${totalNodes}  as ${plain(nodeId)} ${plain(version)} sees it  ${time}`,
    ready ? style.good("ready") : style.bad(`not ready: ${plain(bad.join("; "))}`),
  ];
}

function trusteeLines({ node }: WatchSnapshot, style: Style): readonly string[] {
  if ("problem" in node) return [];
  const stateOf = (t: NodeStatus["trustees"][number]): string => {
    if (t.banned) return style.bad(`banned: ${plain(t.banReason ?? "unknown")}`);
    return t.online ? style.good("online") : style.warn("offline");
  };
  const { trustees, observers } = node.value;
  const rows = [
    ...trustees.map((t) => [plain(t.nodeId), stateOf(t), plain(t.version ?? "-"), plain(t.peerId)]),
    ...observers.map((o) => [
      plain(o.nodeId),
      o.draining ? style.warn("draining") : "observes",
      plain(o.version),
      plain(o.peerId),
    ]),
  ];
  return table(["TRUSTEE", "STATE", "VERSION", "PEER"], rows, style.dim).split("\n");
}

function submitterLines(
  { submitter, submitterUrl }: WatchSnapshot,
  style: Style,
): readonly string[] {
  if ("problem" in submitter)
    return [`${style.dim("SUBMITTER")}  ${style.warn(`no answer from ${submitterUrl}`)}`];
  const { value } = submitter;
  const { chain, nextNonce, leading, frozen } = value;
  return [
    style.dim("SUBMITTER"),
    ...fields([
      ["account", `${value.address} on chain ${value.chainId}${leading ? ", leads" : ""}`],
      ["queue", countsOf(value)],
      [
        "nonces",
        `next ${nextNonce ?? "-"}, on the chain ${chain.latestNonce ?? "-"}, final block ${chain.finalizedBlock ?? "-"}`,
      ],
      ["frozen", frozen === null ? null : style.bad(plain(frozen.reason))],
      ["chain", chain.problem === null ? null : style.bad(plain(chain.problem))],
    ]).split("\n"),
  ];
}

function transactionLines({ node, transactions }: WatchSnapshot, style: Style): readonly string[] {
  if ("problem" in node) return [];
  const { openTransactions, pendingVotes } = node.value;
  const head = `${style.dim("TRANSACTIONS")}  ${openTransactions} open, ${pendingVotes} votes pending`;
  if (transactions === null || transactions.length === 0) return [head];
  const paint = ({ status }: WatchedTransaction): string => {
    if (status === "CONFIRMED") return style.good(status);
    return status.startsWith("ABORTED") ? style.bad(plain(status)) : plain(status);
  };
  const rows = transactions.map((tx) => [
    plain(tx.txId),
    paint(tx),
    plain(tx.value ?? "-"),
    String(tx.votes),
  ]);
  return [head, ...table(["TX", "STATUS", "VALUE", "VOTES"], rows, style.dim).split("\n")];
}

function countsOf({ counts }: SenderView): string {
  const { QUEUED, ASSIGNED, INCLUDED, QUARANTINED } = counts;
  return `${QUEUED} queued, ${ASSIGNED} assigned, ${INCLUDED} included, ${QUARANTINED} quarantined`;
}

function frozenOf({ frozen }: SenderView): string {
  return frozen === null ? "" : `, frozen: ${frozen.reason}`;
}

/** Nothing that came over the network moves this terminal's cursor. */
function plain(text: string): string {
  return Array.from(stripVTControlCharacters(text), (c) => (isControl(c) ? " " : c)).join("");
}

/** C0, DEL and C1. */
function isControl(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

const ESCAPE = "\u001b[";

/** Cut to a width, colours and all: what is hidden must not colour the rest. */
function cut(line: string, columns: number): string {
  if (stripVTControlCharacters(line).length <= columns) return line;
  let shown = 0;
  let out = "";
  for (const [index, part] of line.split(ESCAPE).entries()) {
    // After an escape comes the colour's number up to its "m"; nothing else of the kind is written here.
    const end = index === 0 ? 0 : part.indexOf("m") + 1;
    if (index > 0) out += ESCAPE + part.slice(0, end);
    out += part.slice(end, end + Math.max(0, columns - shown));
    shown += part.length - end;
  }
  return out;
}
