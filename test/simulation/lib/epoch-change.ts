import { makeTrusteeSet, parseEpoch, type TrusteeSet, unwrap } from "@quorate/core";
import type { SeededRandom } from "@quorate/testkit";
import type { World } from "./world.ts";

/** Below it nothing can be taken out. */
const TRUSTEES_MIN = 3;

/** An operator puts another set in force: one trustee more or less, or another threshold. */
export function changeEpoch(world: World, random: SeededRandom): void {
  void world.etcdServer.readConfig().then(async ({ set, epochVersion }) => {
    const successor = nextSet(world, set, random);
    if (successor === null) return;
    world.witness.epochBegins(successor);
    const outcome = await world.etcdServer.changeTrustees(successor, epochVersion);
    if (outcome === "changed") world.weather.strike("epoch-change");
  });
}

function nextSet(world: World, set: TrusteeSet, random: SeededRandom): TrusteeSet | null {
  const all = world.cluster.nodes.map(({ trustee }) => trustee);
  const out = all.filter(({ nodeId }) => !set.byNodeId.has(nodeId));
  const draw = random.next();
  let trustees = [...set.trustees];
  if (draw < 0.4 && out[0] !== undefined) trustees.push(out[0]);
  else if (draw < 0.7 && trustees.length > TRUSTEES_MIN)
    trustees = trustees.toSpliced(random.below(trustees.length), 1);
  const most = trustees.length;
  // Two values can never both reach it.
  const least = Math.floor(most / 2) + 1;
  const threshold = Math.min(most, least + random.below(2));
  const changed = makeTrusteeSet({
    clusterId: set.clusterId,
    epoch: unwrap(parseEpoch(set.epoch + 1)),
    threshold,
    trustees,
  });
  return changed.ok ? changed.value : null;
}
