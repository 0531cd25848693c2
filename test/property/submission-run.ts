import { isLiveSlot, slotMayMove, submissionMayMove } from "@quorate/core";
import type { Submission, SubmissionStore } from "@quorate/ports";
import { txIdOf } from "@quorate/testkit";
import { expect } from "vitest";
import { SUBMISSION_TXS, type SubmissionCommand } from "./submission-commands.ts";
import type { SubmissionDriver } from "./submission-driver.ts";
import { SubmissionModel } from "./submission-model.ts";

/**
 * Carries the commands out on each store, and holds every answer and everything readable against the model and, in all
 * details, store against store, step by step; besides, what must hold whatever the model says.
 */
export async function runSubmissions(
  drivers: readonly SubmissionDriver[],
  commands: readonly SubmissionCommand[],
): Promise<void> {
  const model = new SubmissionModel();
  // Of the first one only: the others are held against it in every detail.
  const laws = drivers.slice(0, 1).map(({ world }) => new SubmissionLaws(world.name, world.store));
  for (const [at, command] of commands.entries()) {
    const answers: unknown[] = [];
    for (const driver of drivers) answers.push(await driver.perform(command, model));
    const expected = model.apply(command);
    const details: unknown[] = [];
    for (const [i, driver] of drivers.entries()) {
      const where = `${driver.world.name}, command ${at + 1}`;
      expect(answers[i], `the answer of ${where}`).toEqual(expected);
      expect(await driver.state(), `what is read of ${where}`).toEqual(model.state());
      await laws[i]?.check();
      details.push(await driver.details());
    }
    for (const [i, driver] of drivers.entries())
      expect(details[i], `all details of ${driver.world.name}, command ${at + 1}`).toEqual(
        details[0],
      );
  }
}

/** What nobody needs a model for: the state machines, and one live nonce an id. */
class SubmissionLaws {
  readonly #name: string;
  readonly #store: SubmissionStore;
  readonly #before = new Map<string, Submission>();

  constructor(name: string, store: SubmissionStore) {
    this.#name = name;
    this.#store = store;
  }

  async check(): Promise<void> {
    for (const tx of SUBMISSION_TXS) {
      const detail = await this.#store.detail(txIdOf(tx));
      if (detail === null) {
        expect(this.#before.has(tx), `${this.#name} forgets ${tx}`).toBe(false);
        continue;
      }
      const { submission, slots, history } = detail;
      const before = this.#before.get(tx);
      this.#before.set(tx, submission);
      if (before !== undefined) {
        expect(submission.value, `${this.#name} changes the value of ${tx}`).toBe(before.value);
        const { state: from } = before;
        // What was mined comes back into the queue by way of ASSIGNED, in one step.
        const direct = submissionMayMove(from, submission.state);
        const back = from === "INCLUDED" && submission.state === "QUEUED";
        expect(
          direct || back,
          `${this.#name} moves ${tx} from ${from} to ${submission.state}`,
        ).toBe(true);
      }
      const live = slots.filter(({ state }) => isLiveSlot(state));
      expect(live.length, `${this.#name} has live nonces of ${tx}`).toBeLessThanOrEqual(1);
      if (submission.state === "QUEUED") expect(live, `${tx} is queued and signed`).toEqual([]);
      for (const { nonce, from, to } of history)
        expect(
          from === null || slotMayMove(from, to),
          `${this.#name} moves nonce ${nonce} from ${from} to ${to}`,
        ).toBe(true);
    }
  }
}
