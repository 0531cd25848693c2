import { addTrustee, type EvmAddress, parseEvmAddress, parseNodeId, unwrap } from "@quorate/core";
import { waitUntil } from "@quorate/devkit";
import { changeTrustees } from "@quorate/engine";
import { createNodeClient } from "@quorate/localcluster/client";
import { createEtcdTallyStore } from "@quorate/store-etcd";
import { createLogger, systemClock } from "@quorate/telemetry";
import { strangerIdentity } from "./identity.ts";
import type { Stage } from "./stage.ts";

const TIMEOUT_MS = 10_000;
/** An account like any other; nobody in the kit uses it. */
const ACCOUNT: EvmAddress = unwrap(parseEvmAddress(`0x${"66".repeat(20)}`));

/** Admits a sixth trustee, who never runs, as an operator would: a new epoch begins on every node. */
export async function beginNextEpoch(stage: Stage): Promise<void> {
  const { publicKey, peerId } = strangerIdentity("trustee-6");
  const nodeId = unwrap(parseNodeId("trustee-6"));
  const clock = systemClock();
  const store = createEtcdTallyStore(
    {
      hosts: stage.servers.etcd.endpoints,
      clusterId: stage.cluster.clusterId,
      requestTimeoutMs: TIMEOUT_MS,
      dialTimeoutMs: TIMEOUT_MS,
    },
    { clock, logger: createLogger({ level: "error", pretty: false, destination: "stderr" }) },
  );
  await store.start();
  try {
    const outcome = await changeTrustees(
      (set) => addTrustee(set, { nodeId, peerId, publicKey, evmAddress: ACCOUNT }),
      { store, clock },
    );
    if (outcome.kind === "refused") throw new Error(outcome.problems.join("; "));
    stage.epoch = outcome.set.epoch;
  } finally {
    await store.stop();
  }
  for (const node of stage.honest)
    await waitUntil(async () => (await createNodeClient(node.url).status()).epoch === stage.epoch, {
      timeoutMs: TIMEOUT_MS,
      what: `epoch ${stage.epoch} on ${node.name}`,
      pollMs: 50,
    });
}
