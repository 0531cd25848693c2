import { expect, test } from "vitest";
import { awaitActive } from "./live-check.ts";
import type { PrometheusServer, RuleState } from "./prometheus-server.ts";

const rule = (name: string, state: string): RuleState => ({
  name,
  state,
  health: "ok",
  lastError: "",
});
/** Answers with one list of rules after the other, and then with the last one. */
function answering(...answers: readonly (readonly RuleState[])[]): PrometheusServer {
  let asked = 0;
  const unused = (): never => {
    throw new Error("not asked for");
  };
  return {
    url: "",
    query: unused,
    metricNames: unused,
    stop: unused,
    rules: () => Promise.resolve(answers[Math.min(asked++, answers.length - 1)] ?? []),
  };
}
const patience = { timeoutMs: 3, everyMs: 1 };
const atOnce = (): Promise<void> => Promise.resolve();

test("an alert that comes to ring within the time was heard, one that stays inactive was not", async () => {
  const quiet = [rule("A", "inactive"), rule("B", "inactive")];
  const one = [rule("A", "pending"), rule("B", "inactive")];
  const both = [rule("A", "firing"), rule("B", "pending")];
  expect(await awaitActive(answering(quiet, one, both), ["A", "B"], patience, atOnce)).toEqual([]);
  expect(await awaitActive(answering(quiet, one), ["A", "B"], patience, atOnce)).toEqual(["B"]);
  expect(await awaitActive(answering(quiet), ["C"], patience, atOnce)).toEqual(["C"]);
});
