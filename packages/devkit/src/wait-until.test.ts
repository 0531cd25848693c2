import { expect, test } from "vitest";

import { waitUntil } from "./wait-until.ts";

test("the wait ends at the first true answer", async () => {
  let asked = 0;
  await waitUntil(() => ++asked === 3, { timeoutMs: 5_000, pollMs: 1, what: "three" });
  expect(asked).toBe(3);
});

test("a wait past its deadline fails and says what it waited for", async () => {
  const wait = waitUntil(() => false, { timeoutMs: 20, pollMs: 1, what: "the moon" });
  await expect(wait).rejects.toMatchObject({
    code: "WAIT_TIMEOUT",
    message: "timed out after 20 ms waiting for the moon",
  });
});

test("a condition that never answers cannot outlive the deadline", async () => {
  const wait = waitUntil(() => new Promise<boolean>(() => {}), { timeoutMs: 20, what: "silence" });
  await expect(wait).rejects.toMatchObject({ code: "WAIT_TIMEOUT" });
});

test("a condition that throws ends the wait with its own error", async () => {
  const broken = new Error("broken");
  const wait = waitUntil(() => Promise.reject(broken), { timeoutMs: 5_000, what: "it" });
  await expect(wait).rejects.toBe(broken);
});

test("an aborted wait fails with the caller's reason", async () => {
  const caller = new AbortController();
  const reason = new Error("enough");
  const wait = waitUntil(
    () => {
      caller.abort(reason);
      return false;
    },
    { timeoutMs: 5_000, what: "it", signal: caller.signal },
  );
  await expect(wait).rejects.toBe(reason);
});
