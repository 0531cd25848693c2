import { COMMAND } from "../command-name.ts";
import { fields } from "../render/table.ts";
import type { Style } from "../terminal.ts";
import type { DevSummary } from "./state.ts";

/** The running cluster for a person: addresses, and lines to try. */
export function renderSummary(summary: DevSummary, style: Style): string {
  const { clusterId, nodes, threshold, etcd, postgres, chain } = summary;
  const search = encodeURIComponent(`-csearch_path=${postgres.schema}`);
  const urls = nodes.map((node) => node.url).join(" ");
  const lines = [
    style.bold(`cluster ${clusterId} is ready: ${threshold} of ${nodes.length} trustees`),
    "",
    fields([
      ...nodes.map((node) => [node.nodeId, node.url] as const),
      ["submitter", summary.submitter.url],
      ["etcd", etcd.endpoints.join(",")],
      ["postgres", postgres.url],
      ["chain", `${chain.rpcUrl} (chain id ${chain.chainId})`],
      ["contract", chain.contractAddress],
      ["files", summary.directory],
    ]),
    "",
    style.bold("Try:"),
    `  for node in ${urls}; do ${COMMAND} vote tx-1 42 --node $node; done`,
    `  ${COMMAND} tx tx-1 --node ${nodes[0]?.url}`,
    `  ETCDCTL_API=3 ${etcd.etcdctl ?? "etcdctl"} --endpoints=${etcd.endpoints.join(",")} get --prefix /quorate/${clusterId}/`,
    `  ${postgres.psql ?? "psql"} '${postgres.url}?options=${search}' -c 'SELECT * FROM blockchain_submissions'`,
  ];
  return lines.join("\n");
}
