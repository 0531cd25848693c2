import type { World } from "./world.ts";

/** What is still under way, or will never end. Empty when the run may end. */
export function unsettled(world: World): readonly string[] {
  const { witness, clients, nodes, submitters, audit } = world;
  const open: string[] = [];
  for (const seat of nodes) if (seat.node === null) open.push(`${seat.name} is not up`);
  for (const seat of submitters) if (seat.service === null) open.push(`${seat.name} is not up`);
  if (!submitters.some(({ service }) => service?.leading === true)) open.push("nobody leads");
  for (const client of clients)
    if (client.outcome === null) open.push(`${client.text} is unanswered`);
  for (const [txId, { status, isTampered }] of witness.tally.transactions)
    if (!isTampered && status !== "CONFIRMED" && status !== "ABORTED_BYZANTINE")
      open.push(`${txId} is ${status ?? "without a status"}`);
  for (const [peerId, { isForged }] of witness.tally.bans)
    if (isForged) open.push(`the forged ban of ${world.nameOf(peerId)} stands`);
  for (const { node, name } of nodes)
    if (node !== null && node.pendingVotes > 0) open.push(`${name} has votes waiting`);
  open.push(...witness.conflicts.open);
  open.push(...witness.history.missing(audit));
  const alive = nodes.flatMap(({ process }) => (process === null ? [] : [process.name]));
  open.push(...witness.receipts.open(alive));
  open.push(...witness.openSubmissions());
  return open;
}
