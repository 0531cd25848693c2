import { expect, test } from "vitest";

import { auditLogContract } from "./contracts/audit-log.contract.ts";
import { createMemoryAuditLog } from "./memory-audit-log.ts";

auditLogContract("memory", async () => {
  const log = createMemoryAuditLog();
  return {
    log,
    other: log,
    records: async () => log.records(),
    close: async () => undefined,
  };
});

test("a lost reply of an append leaves the batch recorded once", async () => {
  let failing = true;
  const lost = new Error("reply lost");
  const log = createMemoryAuditLog({
    faults: {
      after: () => {
        if (failing) throw lost;
      },
    },
  });
  await expect(log.append(null, { revision: 3n, rows: [] })).rejects.toBe(lost);
  failing = false;
  expect(await log.position()).toBe(3n);
  expect(await log.append(null, { revision: 3n, rows: [] })).toBe("stale");
});
