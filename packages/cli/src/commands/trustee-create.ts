import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ProtocolConfig, parseNodeId, parsePeerId } from "@quorate/core";
import { planJoin, writeCluster } from "@quorate/localcluster";
import { COMMAND } from "../command-name.ts";
import { EXIT, usageErrors } from "../failure.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import { clusterIdOf, isFile } from "./trustee-cluster.ts";

export interface CreateNodeOptions {
  readonly etcd: readonly string[];
  readonly cluster: string;
  readonly bootstrap: readonly string[];
  readonly out: string;
  readonly listen: string;
  readonly announce?: string;
  readonly apiPort: number;
  readonly json?: true;
}

/** Makes the key and the configuration of a node that is to join. Asks nobody: the key never leaves the directory. */
export async function createNodeAction(
  name: string,
  options: CreateNodeOptions,
  terminal: Terminal,
): Promise<number> {
  const nodeId = check(name, options);
  const clusterId = await clusterIdOf(options.cluster);
  const protocol = await protocolOf(options.cluster);
  const { out, etcd, bootstrap, listen, announce, apiPort } = options;
  const { trustee, files } = planJoin({
    clusterId,
    nodeId,
    etcdHosts: etcd,
    bootstrap,
    listen,
    ...(announce === undefined ? {} : { announce }),
    api: { host: "127.0.0.1", port: apiPort },
    ...(protocol === null ? {} : { protocol }),
  });
  await writeCluster({ files }, out);
  const { peerId, evmAddress } = trustee;
  if (options.json === true)
    terminal.data(
      jsonDocument({
        clusterId,
        nodeId,
        peerId,
        evmAddress,
        directory: out,
        files: files.map((file) => file.path),
      }),
    );
  else
    terminal.data(
      [`${out}: node ${nodeId} of cluster ${clusterId}`, `peer id ${peerId}`].join("\n"),
    );
  if (protocol === null)
    terminal.note(
      "It has the default protocol settings: copy `protocol` from another node's file if yours has others, for all nodes must judge alike.",
    );
  const where = `--cluster ${clusterId} --etcd ${etcd.join(",")}`;
  terminal.note(
    [
      "",
      "Next:",
      `  ${COMMAND} node --config ${join(out, "node.json")}`,
      `  ${COMMAND} trustee add ${nodeId} --peer-id ${peerId} --evm-address ${evmAddress} ${where}`,
    ].join("\n"),
  );
  return EXIT.ok;
}

/** All that is wrong with the arguments, at once. */
function check(name: string, { bootstrap }: CreateNodeOptions) {
  const nodeId = parseNodeId(name);
  const problems = nodeId.ok ? [] : [`node id: ${nodeId.error.message}`];
  if (bootstrap.length === 0) problems.push("--bootstrap: at least one address is needed");
  for (const address of bootstrap) {
    const [, where, peer] = /^(\/.+)\/p2p\/([^/]+)$/.exec(address) ?? [];
    if (where === undefined || !parsePeerId(peer).ok)
      problems.push(
        `--bootstrap: ${JSON.stringify(address)} must be like /dns4/trustee-1/tcp/4001/p2p/12D3KooW…`,
      );
  }
  if (!nodeId.ok || problems.length > 0) throw usageErrors(problems);
  return nodeId.value;
}

/** The settings by which the cluster judges, when it is named by its file. */
async function protocolOf(cluster: string): Promise<Partial<ProtocolConfig> | null> {
  if (!isFile(cluster)) return null;
  const file: { readonly protocol?: Partial<ProtocolConfig> } = JSON.parse(
    await readFile(cluster, "utf8"),
  );
  return file.protocol ?? null;
}
