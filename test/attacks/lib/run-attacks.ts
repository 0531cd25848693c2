import type { LocalCluster } from "@quorate/localcluster";
import type { Attack, AttackResult } from "./attack.ts";
import { type Attacker, startAttacker } from "./attacker.ts";
import { conclude } from "./conclude.ts";
import { Playgrounds } from "./playgrounds.ts";
import { Stage } from "./stage.ts";

/** Runs attacks one after the other. @param directory for keys, data and logs; the caller removes it */
export async function runAttacks(
  attacks: readonly Attack[],
  options: {
    readonly directory: string;
    /** Absolute folder where every honest process records its steps. */
    readonly stepsDirectory?: string | undefined;
    readonly say: (text: string) => void;
    readonly onResult?: (result: AttackResult) => void;
  },
): Promise<readonly AttackResult[]> {
  const { directory, stepsDirectory, say, onResult } = options;
  const playgrounds = await Playgrounds.open(directory, { stepsDirectory });
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
  const seconds = (): number => Math.round((performance.now() - startedMs) / 100) / 10;
  let cluster: LocalCluster | null = null;
  let passed = false;
  try {
    cluster = await playgrounds.enter(attack);
    const stage = await Stage.set({
      cluster,
      servers: playgrounds.servers,
      attack,
      attacker,
      say,
    });
    let failure: unknown = null;
    try {
      await attack.run(stage);
    } catch (error) {
      failure = error ?? new Error("the attack failed without a reason");
    }
    const result = await conclude(stage, failure);
    passed = result.passed;
    return { ...result, seconds: seconds() };
  } catch (error) {
    // One cluster that does not start must not hide how the other attacks end.
    return brokenOff(attack, error, seconds());
  } finally {
    await attacker.call("reset", {});
    if (cluster !== null) await playgrounds.leave(cluster, !passed);
  }
}

function brokenOff(attack: Attack, error: unknown, seconds: number): AttackResult {
  const { name, does, expects } = attack;
  return {
    name,
    does,
    expects,
    passed: false,
    problems: [error instanceof Error ? error.message : "the rehearsal broke off"],
    caught: null,
    refused: null,
    banInEtcdMs: null,
    banEverywhereMs: null,
    evidenceVerified: null,
    finding: null,
    honestBanned: 0,
    wronglyDecided: 0,
    transactions: { honest: 0, decided: 0, abortedByPolicy: 0 },
    figures: {},
    seconds,
  };
}
