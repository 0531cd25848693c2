import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { run } from "../program.ts";
import { recordingTerminal } from "../test-terminal.ts";
import { locateKit } from "./attack.ts";

describe("the attack kit", () => {
  it("is found from anywhere in the checkout", () => {
    expect(locateKit(import.meta.dirname)).toMatch(/test[\\/]attacks[\\/]main\.ts$/);
  });

  it("is said to be missing where there is no checkout", async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), "quorate-no-kit-"));
    try {
      expect(() => locateKit(elsewhere)).toThrow("comes with the project's checkout");
    } finally {
      await rm(elsewhere, { recursive: true });
    }
  });

  it("runs nothing that was not asked for", async () => {
    const terminal = recordingTerminal();
    expect(await run(["dev", "attack"], terminal)).toBe(2);
    expect(terminal.stderr()).toContain("name an attack");
  });
});
