import type { Attack, AttackResult } from "./attack.ts";
import { type Attacker, startAttacker } from "./attacker.ts";
import { Playgrounds } from "./playgrounds.ts";
import { Stage } from "./stage.ts";

/** Runs attacks one after the other. @param directory for keys, data and logs; the caller removes it */
export async function runAttacks(
  attacks: readonly Attack[],
  options: {
    readonly directory: string;
    readonly say: (text: string) => void;
    readonly onResult?: (result: AttackResult) => void;
  },
): Promise<readonly AttackResult[]> {
  const { directory, say, onResult } = options;
  const playgrounds = await Playgrounds.open(directory);
  const attacker = startAttacker();
  const results: AttackResult[] = [];
  try {
    for (const attack of attacks) {
      say(`${attack.name}: ${attack.does}`);
      const result = await runAttack(attack, playgrounds, attacker, say);
      results.push(result);
      onResult?.(result);
    }
  } finally {
    await attacker.stop();
    await playgrounds.close();
  }
  return results;
}

async function runAttack(
  attack: Attack,
  playgrounds: Playgrounds,
  attacker: Attacker,
  say: (text: string) => void,
): Promise<AttackResult> {
  const startedMs = performance.now();
  const cluster = await playgrounds.enter(attack);
  const stage = await Stage.set({ cluster, servers: playgrounds.servers, attack, attacker, say });
  let failure: unknown = null;
  try {
    await attack.run(stage);
  } catch (error) {
    failure = error ?? new Error("the attack failed without a reason");
  }
  let passed = false;
  try {
    const result = await stage.conclude(failure);
    passed = result.passed;
    return { ...result, seconds: Math.round((performance.now() - startedMs) / 100) / 10 };
  } finally {
    await attacker.call("reset", {});
    await playgrounds.leave(cluster, !passed);
  }
}
