import type { ChangeSet } from "@quorate/ports";
import { expect } from "vitest";
import type { TallyCommand } from "./tally-commands.ts";
import type { TallyDriver } from "./tally-driver.ts";
import { TallyModel } from "./tally-model.ts";
import { expectFold, seenSteps, Watching } from "./tally-watch.ts";

/**
 * Carries the commands out on each store, and holds every answer and everything readable against the model, step by
 * step; then what a watch from the beginning and one from each of `lateSteps` showed, store against store.
 */
export async function runTally(
  drivers: readonly TallyDriver[],
  commands: readonly TallyCommand[],
  lateSteps: readonly number[],
): Promise<void> {
  const model = new TallyModel();
  const live = drivers.map((driver) => new Watching(driver, driver.revisionAfter(0)));
  try {
    for (const [at, command] of commands.entries()) {
      model.begin();
      const answers: unknown[] = [];
      for (const driver of drivers) answers.push(await driver.perform(command, model));
      const expected = model.apply(command);
      for (const [i, driver] of drivers.entries()) {
        const where = `${driver.name}, command ${at + 1}`;
        expect(answers[i], `the answer of ${where}`).toEqual(expected);
        expect(await driver.state(model), `what is read of ${where}`).toEqual(model.state());
      }
    }
    const whole: (readonly ChangeSet[])[] = [];
    for (const [i, driver] of drivers.entries())
      whole.push((await live[i]?.upTo(driver.revisionAfter(model.step))) ?? []);
    for (const [i, driver] of drivers.entries()) {
      const sets = whole[i] ?? [];
      expectFold(driver, model, sets);
      const [first] = drivers;
      if (first !== undefined)
        expect(seenSteps(driver, sets), `what a watch of ${driver.name} shows`).toEqual(
          seenSteps(first, whole[0] ?? []),
        );
      for (const step of lateSteps) await expectTail(driver, sets, Math.min(step, model.step));
    }
  } finally {
    await Promise.all(live.map((watching) => watching.stop()));
  }
}

/** A watch that begins in the middle of history shows exactly the rest of it. */
async function expectTail(
  driver: TallyDriver,
  whole: readonly ChangeSet[],
  step: number,
): Promise<void> {
  const after = driver.revisionAfter(step);
  const end = whole.at(-1)?.revision ?? after;
  const late = await new Watching(driver, after).upTo(end);
  expect(late, `a watch of ${driver.name} after step ${step}`).toEqual(
    whole.filter(({ revision }) => revision > after),
  );
}
