import { afterEach, beforeEach, expect, test } from "vitest";
import { ClaimsStage, SETTLE_MS } from "./test-claims-world.ts";
import type { TestTracer } from "./test-tracer.ts";

let stage: ClaimsStage;

beforeEach(async () => {
  stage = await ClaimsStage.open();
});

afterEach(() => stage.close());

const locks = (tracer: TestTracer): readonly (readonly [string | undefined, boolean])[] =>
  tracer
    .named("submission.lock")
    .map(({ attributes, failed }) => [attributes["quorate.outcome"], failed]);

test("a claim is one span", async () => {
  const { tracer } = await stage.start();
  await stage.votes("tx", [7, 7, 7, 7, 7]);
  await stage.world.clock.advance(50);
  expect(locks(tracer)).toEqual([["claimed", false]]);
  expect(tracer.spans[0]?.attributes["quorate.tx_id"]).toBe("tx");
});

test("a claim whose reply is lost is a failed span, and goes on all the same", async () => {
  const process = await stage.start();
  let lost = false;
  process.fault = (operation) => {
    if (operation !== "commit" || lost) return null;
    lost = true;
    return { loseReply: true };
  };
  await stage.votes("tx", [7, 7, 7, 7, 7]);
  await stage.world.clock.advance(1_000);
  expect(locks(process.tracer)[0]).toEqual(["unknown", true]);
  expect(process.queued).toEqual(["tx"]);
});

test("a claim that dissent overtakes is a conflict", async () => {
  const process = await stage.start();
  process.fault = (operation) => (operation === "commit" ? { delayMs: 100 } : null);
  await stage.votes("tx", [7, 7, 7, 7, null]);
  await stage.world.clock.advance(SETTLE_MS + 10);
  await stage.votes("tx", [null, null, null, null, 8]);
  await stage.world.clock.advance(10_000);
  expect(locks(process.tracer)).toEqual([["conflict", false]]);
});

test("a claim that no votes bear out is told as such", async () => {
  const { tracer, queued } = await stage.start();
  await stage.forge("tx", { status: "THRESHOLD_REACHED", value: 7 });
  await stage.world.clock.advance(1_000);
  expect(locks(tracer)).toEqual([["unbacked", false]]);
  expect(queued).toEqual([]);
});
