import { randomBytes } from "node:crypto";
import { createLocalSigner } from "@quorate/chain-evm";
import {
  bytesToHex,
  type ClusterId,
  type EvmAddress,
  err,
  type FaultBounds,
  faultBounds,
  makeTrusteeSet,
  type NodeId,
  ok,
  type ProtocolConfig,
  parseEpoch,
  parseNodeId,
  peerIdOf,
  type Result,
  type Trustee,
  type TrusteeSet,
  thresholdProblems,
  unwrap,
} from "@quorate/core";
import { createVoteSigner, generateSeed } from "@quorate/crypto-sodium";
import type { FinalityMode } from "@quorate/ports";
import type { AddressPlan } from "./addresses.ts";

/** Everything that a new cluster is told. */
export interface ClusterRequest {
  readonly clusterId: ClusterId;
  readonly trustees: number;
  readonly threshold: number;
  readonly protocol: ProtocolConfig;
  readonly etcdHosts: readonly string[];
  readonly postgresUrl: string;
  readonly chain: {
    readonly rpcUrls: readonly string[];
    readonly chainId: number;
    /** Null when the contract is not deployed yet: the submitter's file then lacks it. */
    readonly contractAddress: EvmAddress | null;
    readonly finality: FinalityMode;
    readonly pollMs: number;
  };
  readonly logLevel: "error" | "warn" | "info" | "debug";
}

/** One file of the cluster's directory. */
export interface PlannedFile {
  /** Relative to the cluster's directory, with slashes. */
  readonly path: string;
  readonly content: string;
  /** Readable by its owner alone. */
  readonly secret: boolean;
}

export interface ClusterPlan {
  readonly set: TrusteeSet;
  readonly submitterAddress: EvmAddress;
  readonly faultBounds: FaultBounds;
  readonly files: readonly PlannedFile[];
}

/** A node's peers to join by: three, so that one that is down keeps nobody out. */
const BOOTSTRAP_PEERS_MAX = 3;

/** The ids of a new cluster's nodes. */
export function nodeIdsOf(trustees: number): readonly NodeId[] {
  return Array.from({ length: trustees }, (_, i) => unwrap(parseNodeId(`trustee-${i + 1}`)));
}

/**
 * Makes the keys and writes down the configurations of a new cluster, in memory: each call
 * makes other keys. Refuses an impossible N and t with all that is wrong.
 * @see spec §1.2
 */
export function planCluster(
  request: ClusterRequest,
  addresses: (nodeIds: readonly NodeId[]) => AddressPlan,
): Result<ClusterPlan, readonly string[]> {
  const problems = thresholdProblems(request.trustees, request.threshold);
  if (problems.length > 0) return err(problems);
  const nodeIds = nodeIdsOf(request.trustees);
  const members = nodeIds.map(makeMember);
  const set = makeTrusteeSet({
    clusterId: request.clusterId,
    epoch: unwrap(parseEpoch(1)),
    threshold: request.threshold,
    trustees: members.map((m) => m.trustee),
  });
  if (!set.ok) return set;
  const plan = addresses(nodeIds);
  const bootstrap = members
    .slice(0, BOOTSTRAP_PEERS_MAX)
    .map(({ trustee }, i) => `${plan.nodes[i]?.reachable}/p2p/${trustee.peerId}`);
  const submitter = makeEvmKey();
  return ok({
    set: set.value,
    submitterAddress: submitter.address,
    faultBounds: faultBounds(request.trustees, request.threshold),
    files: [
      json("cluster.json", clusterFile(request, set.value, nodeIds)),
      ...members.flatMap((member, i) => [
        json(`${member.trustee.nodeId}/node.json`, nodeFile(request, plan, bootstrap, nodeIds, i)),
        secret(`${member.trustee.nodeId}/node.key`, member.seedHex),
        secret(`${member.trustee.nodeId}/evm.key`, member.evmKey),
      ]),
      json("submitter/submitter.json", submitterFile(request, plan)),
      secret("submitter/submitter.key", submitter.key),
    ],
  });
}

/** What a node that is to join a running cluster is told. Everybody else it finds by itself. */
export interface JoinRequest {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly etcdHosts: readonly string[];
  /** One address of a node that runs, with its peer id; more are safer and not needed. */
  readonly bootstrap: readonly string[];
  /** Multiaddr to listen on. */
  readonly listen: string;
  /** Where others reach it, when that is not where it listens. */
  readonly announce?: string;
  readonly api: { readonly host: string; readonly port: number };
  /** The cluster's, when it has others than the defaults: all nodes must judge alike. */
  readonly protocol?: Partial<ProtocolConfig>;
}

/**
 * Makes the keys and the configuration of a node that is to join, in memory: each call makes other keys.
 * It becomes a trustee only when an operator admits the returned one.
 * @see spec §16.1
 */
export function planJoin(request: JoinRequest): {
  readonly trustee: Trustee;
  readonly files: readonly PlannedFile[];
} {
  const { clusterId, nodeId, etcdHosts, bootstrap, listen, announce, api, protocol } = request;
  const member = makeMember(nodeId);
  const config = {
    clusterId,
    nodeId,
    keyFile: "node.key",
    etcd: { hosts: etcdHosts },
    network: {
      listen: [listen],
      ...(announce === undefined ? {} : { announce: [announce] }),
      bootstrap,
    },
    api,
    ...(protocol === undefined ? {} : { protocol }),
  };
  return {
    trustee: member.trustee,
    files: [
      json("node.json", config),
      secret("node.key", member.seedHex),
      secret("evm.key", member.evmKey),
    ],
  };
}

function makeMember(nodeId: NodeId): {
  readonly trustee: Trustee;
  readonly seedHex: string;
  readonly evmKey: string;
} {
  const seed = generateSeed();
  const { publicKey } = createVoteSigner(seed);
  const evm = makeEvmKey();
  return {
    trustee: { nodeId, peerId: peerIdOf(publicKey), publicKey, evmAddress: evm.address },
    seedHex: bytesToHex(seed),
    evmKey: evm.key,
  };
}

function makeEvmKey(): { readonly key: string; readonly address: EvmAddress } {
  // One in 2^128 draws lies outside the curve's order; the signer would then refuse it aloud.
  const key = `0x${bytesToHex(randomBytes(32))}`;
  return { key, address: createLocalSigner({ privateKey: key }).address };
}

function clusterFile(
  { clusterId, threshold, protocol }: ClusterRequest,
  set: TrusteeSet,
  nodeIds: readonly NodeId[],
): object {
  return {
    clusterId,
    epoch: set.epoch,
    threshold,
    trustees: nodeIds.map((nodeId) => {
      const trustee = set.byNodeId.get(nodeId);
      return {
        nodeId,
        peerId: trustee?.peerId,
        publicKey: bytesToHex(trustee?.publicKey ?? new Uint8Array()),
        evmAddress: trustee?.evmAddress,
      };
    }),
    protocol,
  };
}

function nodeFile(
  request: ClusterRequest,
  plan: AddressPlan,
  bootstrap: readonly string[],
  nodeIds: readonly NodeId[],
  index: number,
): object {
  const addresses = plan.nodes[index];
  const { submitterApi } = plan;
  return {
    clusterId: request.clusterId,
    nodeId: nodeIds[index],
    keyFile: "node.key",
    etcd: { hosts: request.etcdHosts },
    network: {
      listen: [addresses?.listen],
      announce: addresses?.listen === addresses?.reachable ? [] : [addresses?.reachable],
      bootstrap,
    },
    api: addresses?.api,
    // Elsewhere than on this machine it would refuse a node that has no token of it.
    ...(submitterApi.host === "127.0.0.1"
      ? { submitter: { url: `http://${submitterApi.host}:${submitterApi.port}` } }
      : {}),
    protocol: request.protocol,
    log: { level: request.logLevel },
  };
}

function submitterFile(request: ClusterRequest, plan: AddressPlan): object {
  const { contractAddress, ...chain } = request.chain;
  return {
    clusterId: request.clusterId,
    etcd: { hosts: request.etcdHosts },
    postgres: { url: request.postgresUrl },
    chain: { ...chain, ...(contractAddress === null ? {} : { contractAddress }) },
    keyFile: "submitter.key",
    api: plan.submitterApi,
    protocol: request.protocol,
    log: { level: request.logLevel },
  };
}

const json = (path: string, content: object): PlannedFile => ({
  path,
  content: `${JSON.stringify(content, null, 2)}\n`,
  secret: false,
});

const secret = (path: string, content: string): PlannedFile => ({
  path,
  content: `${content}\n`,
  secret: true,
});
