export { GossipError } from "./errors.ts";
export { createGossipMetrics, type GossipMetrics } from "./gossip-metrics.ts";
export { peerIdFromPublicKey, peerIdFromSeed } from "./identity.ts";
export { createGossip, type GossipDeps, type Libp2pGossip } from "./libp2p-gossip.ts";
export { GOSSIP_LIMITS, type GossipLimits, type GossipOptions, voteTopic } from "./options.ts";
