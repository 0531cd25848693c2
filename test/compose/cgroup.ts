import { mkdirSync, readdirSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = "/sys/fs/cgroup";
/** As much as so many processes beside it: there are five nodes, three members of etcd and a handful of others. */
const PROCESSES = 16;
/** What the kernel gives one process's group of its own: cgroup v1 by shares, v2 by weight. */
const WEIGHTS = [
  { directory: join(ROOT, "cpu"), file: "cpu.shares", one: 1_024 },
  { directory: ROOT, file: "cpu.weight", one: 100 },
] as const;

/**
 * A control group for all of an engine's containers, by name. By default they weigh together what one process weighs:
 * on a machine that does much else they got a fiftieth of it, and no health check came in time. What can't be set stays
 * as it is.
 * @returns what removes the group when it is empty
 */
export function makeContainerGroup(name: string): () => void {
  for (const { directory, file, one } of WEIGHTS)
    try {
      mkdirSync(join(directory, name), { recursive: true });
      writeFileSync(join(directory, name, file), String(one * PROCESSES));
      break;
    } catch {
      // Of another version, or not ours to set.
    }
  return () => {
    for (const parent of [ROOT, ...controllers()]) removeTree(join(parent, name));
  };
}

function controllers(): readonly string[] {
  try {
    return readdirSync(ROOT).map((entry) => join(ROOT, entry));
  } catch {
    return [];
  }
}

/** Groups are directories that only rmdir removes, the innermost first. */
function removeTree(path: string): void {
  try {
    for (const entry of readdirSync(path)) {
      const child = join(path, entry);
      if (statSync(child).isDirectory()) removeTree(child);
    }
    rmdirSync(path);
  } catch {
    // Not there, or somebody is still in it.
  }
}
