import { expect, it } from "vitest";
import { buildPage } from "./build-page.ts";
import { dashboardAssets } from "./index.ts";

it("what is served is what the page's source makes: pnpm run build:dashboard", async () => {
  const built = await buildPage();
  const served = new Map(
    dashboardAssets().map(({ path, body }) => [path.split("/").at(-1) || "index.html", body]),
  );
  expect([...served.keys()].sort()).toEqual([...built.keys()].sort());
  for (const [name, text] of built) expect(served.get(name) === text, name).toBe(true);
});

it("the page loads nothing from elsewhere and writes no markup from text", () => {
  for (const { path, body } of dashboardAssets()) {
    // Names of namespaces and of a licence are no addresses that anything is loaded from.
    const urls = body.match(/https?:\/\/[^"'`\s)]+/g) ?? [];
    expect([path, urls.filter((url) => !/www\.w3\.org|github\.com/.test(url))]).toEqual([path, []]);
  }
});
