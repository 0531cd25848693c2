import { fields } from "../render/table.ts";
import type { Style } from "../terminal.ts";
import type { DevSummary } from "./state.ts";

/** The running cluster for a person: addresses, and lines to try. */
export function renderSummary(summary: DevSummary, style: Style): string {
  const { clusterId, nodes, threshold, etcd, postgres, chain } = summary;
  const search = encodeURIComponent(`-csearch_path=${postgres.schema}`);
  const first = nodes[0]?.url ?? "";
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
    `  quorate vote tx-1 42 --node ${first} --wait`,
    `  curl -s ${first}/v1/status`,
    `  ETCDCTL_API=3 ${etcd.etcdctl ?? "etcdctl"} --endpoints=${etcd.endpoints.join(",")} get --prefix /quorate/${clusterId}/`,
    `  ${postgres.psql ?? "psql"} '${postgres.url}?options=${search}' -c 'SELECT * FROM blockchain_submissions'`,
  ];
  return lines.join("\n");
}
