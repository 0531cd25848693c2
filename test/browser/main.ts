// Drives the system's Chromium over the operator's page of a real cluster. Each step throws when what a person should
// see is not there in time. Pictures go to test/browser/artifacts.
import { strict as assert } from "node:assert";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseClusterId, parseNodeId, parseTxId, parseValue, unwrap } from "@quorate/core";
import {
  type LocalCluster,
  type LocalServers,
  startCluster,
  startLocalServers,
  startMisbehavingPeer,
} from "@quorate/localcluster";
import { createNodeClient } from "@quorate/localcluster/client";
import { createApiToken } from "@quorate/telemetry";
import { type Browser, chromium, type Page } from "playwright-core";
import { findChromium } from "./find-chromium.ts";

const ARTIFACTS = fileURLToPath(new URL("./artifacts/", import.meta.url));
/** What a step may take at most, in ms: machines are slow, and nothing waits longer than it must. */
const STEP_MS = 40_000;
const DESKTOP = { width: 1_280, height: 900 };
const PHONE = { width: 390, height: 844 };

const startedMs = performance.now();
const say = (text: string): void => {
  process.stderr.write(`${((performance.now() - startedMs) / 1_000).toFixed(1)} s  ${text}\n`);
};

interface Stage {
  readonly servers: LocalServers;
  readonly cluster: LocalCluster;
  readonly page: Page;
  /** What the page itself complained about, besides requests that failed. */
  readonly complaints: string[];
}

async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(ARTIFACTS, `${name}.png`) });
}

function urlOf({ cluster }: Stage, index: number): string {
  const node = cluster.nodes[index];
  assert(node !== undefined, `there is a node ${index}`);
  return node.url;
}

async function voteAll(stage: Stage, txId: string, value: string): Promise<void> {
  for (const index of [0, 1, 2, 3]) await createNodeClient(urlOf(stage, index)).vote(txId, value);
}

const STEPS: readonly (readonly [string, (stage: Stage) => Promise<void>])[] = [
  [
    "five trustees, one of them absent, and it may load nothing from elsewhere",
    async (stage) => {
      const { page } = stage;
      const response = await page.goto(urlOf(stage, 0));
      const policy = response?.headers()["content-security-policy"] ?? "";
      assert.match(policy, /default-src 'none'/);
      await page.locator("[data-trustee]").nth(4).waitFor();
      assert.equal(await page.locator("[data-trustee]").count(), 5);
      await page.locator("[data-trustee=trustee-5]").getByText("absent").waitFor();
      assert.equal(await page.locator("[data-trustee]").getByText("online").count(), 4);
      await page.locator("header.top").getByText("live", { exact: true }).waitFor();
      await page.locator("#submitter").getByText("leading").waitFor();
      // Four are there and four are needed.
      await page.locator("#attention").getByText("QuorumAtRisk").waitFor();
    },
  ],
  [
    "a transaction, as it happens, to its place on the chain",
    async (stage) => {
      const { page } = stage;
      const row = page.locator("[data-tx=tx-live]");
      assert.equal(await row.count(), 0);
      for (let i = 0; i < 6; i++) await voteAll(stage, `tx-before-${i}`, `${100 + i}`);
      await createNodeClient(urlOf(stage, 0)).vote("tx-live", "42");
      await row.getByText("collecting").waitFor();
      await row.getByText("1/5").waitFor();
      await voteAll(stage, "tx-live", "42");
      // All run on this machine: no clock is off, and this node's own is compared with nobody's.
      const clock = page.locator("[data-trustee=trustee-2] [data-label=Clock]");
      await clock.getByText(/same|0\.\d\d s behind/).waitFor();
      await row.getByText("confirmed").waitFor();
      await row.locator("button").click();
      const dialog = page.locator("dialog");
      await dialog.getByText("trustee-3 voted 42").waitFor();
      await dialog.getByText(/in block \d+/).waitFor();
      await picture(page, "1-transaction");
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      await page.waitForTimeout(4_500);
      await picture(page, "2-overview-light");
    },
  ],
  [
    "the keys: j, Enter, Escape and the filter",
    async ({ page }) => {
      await page.keyboard.press("j");
      await page.locator("tr.selected").waitFor();
      await page.keyboard.press("Enter");
      await page.locator("dialog").waitFor();
      const selected = await page.locator("tr.selected").getAttribute("data-tx");
      assert.equal(await page.locator("#dialog-title").textContent(), selected);
      await page.keyboard.press("Escape");
      await page.locator("dialog").waitFor({ state: "detached" });
      await page.keyboard.press("/");
      await page.keyboard.type("tx-before-3");
      await page.locator("[data-tx]").nth(1).waitFor({ state: "detached" });
      assert.equal(await page.locator("[data-tx]").count(), 1);
      await page.locator("#filter").fill("");
      await page.keyboard.press("Escape");
    },
  ],
  [
    "who votes twice is banned, and the evidence is shown",
    async ({ cluster, page }) => {
      const peer = await startMisbehavingPeer(cluster, unwrap(parseNodeId("trustee-5")));
      try {
        const txId = unwrap(parseTxId("tx-evil"));
        await peer.publish(txId, unwrap(parseValue("1")));
        await peer.publish(txId, unwrap(parseValue("2")));
        const ban = page.locator("[data-ban=trustee-5]");
        await ban.getByText("double voting").waitFor();
        await page.locator("[data-trustee=trustee-5]").getByText("banned: double voting").waitFor();
        await ban.getByRole("button", { name: "Show" }).click();
        await page.locator("dialog .finding").waitFor();
        await page.locator("dialog").getByText("tx-evil", { exact: true }).waitFor();
        await picture(page, "3-evidence");
        await page.keyboard.press("Escape");
        await page.locator("dialog").waitFor({ state: "detached" });
      } finally {
        await peer.stop();
      }
    },
  ],
  [
    "it fits a phone and the dark",
    async ({ page }) => {
      await page.keyboard.press("t");
      await page.keyboard.press("t");
      assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
      await page.waitForTimeout(500);
      await picture(page, "4-overview-dark");
      await page.setViewportSize(PHONE);
      await page.waitForTimeout(500);
      const overflow = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      );
      assert.equal(overflow, 0, "nothing is wider than the phone");
      await page.screenshot({ path: join(ARTIFACTS, "5-phone.png"), fullPage: true });
      await page.setViewportSize(DESKTOP);
    },
  ],
  [
    "why the node is not ready while etcd is away, and that it is again",
    async (stage) => {
      const { page, servers } = stage;
      await servers.etcd.stop();
      // Nobody votes: an idle cluster has to notice, too.
      const banner = page.locator("#not-ready");
      await banner.getByText("etcd").waitFor();
      await picture(page, "6-not-ready");
      await Promise.all(servers.etcd.members.map((member) => member.restart()));
      await banner.waitFor({ state: "detached" });
      await createNodeClient(urlOf(stage, 0)).vote("tx-after", "7");
      await page.locator("[data-tx=tx-after]").waitFor();
    },
  ],
  [
    "with a token file it asks for a token, for the feed too",
    async (stage) => {
      const { page, cluster } = stage;
      const [node] = cluster.nodes;
      assert(node !== undefined, "there is a node");
      const { token, entry } = createApiToken("browser", "read");
      const file = join(dirname(node.configFile), "tokens.json");
      await writeFile(file, JSON.stringify([entry]), { mode: 0o600 });
      const settings: { api: object } = JSON.parse(await readFile(node.configFile, "utf8"));
      const api = { ...settings.api, tokensFile: "tokens.json" };
      await writeFile(node.configFile, JSON.stringify({ ...settings, api }));
      await node.stop();
      await page.locator(".banner").getByText("does not answer").waitFor();
      await node.start();
      await page.goto(node.url);
      await page.getByLabel("Token").fill("qrt_wrong");
      await page.keyboard.press("Enter");
      await page.getByText("not known here").waitFor();
      await picture(page, "8-token");
      await page.getByLabel("Token").fill(token);
      await page.keyboard.press("Enter");
      await page.locator("[data-trustee]").nth(4).waitFor();
      await page.locator("header.top").getByText("live", { exact: true }).waitFor();
      await createNodeClient(urlOf(stage, 1)).vote("tx-guarded", "9");
      await page.locator("[data-tx=tx-guarded]").waitFor();
    },
  ],
  [
    "the submitter's own page",
    async ({ cluster, page }) => {
      await page.goto(cluster.submitter.url);
      await page.locator("#submissions").getByText("tx-live").waitFor();
      await picture(page, "7-submitter");
    },
  ],
  [
    "the page itself had nothing to complain about",
    async ({ complaints }) => {
      assert.deepEqual(complaints, []);
    },
  ],
];

async function main(): Promise<number> {
  const executablePath = findChromium();
  if (executablePath === null) {
    process.stderr.write(
      "The browser test needs Chromium on the PATH; on Debian: apt-get install chromium\n",
    );
    return 1;
  }
  await mkdir(ARTIFACTS, { recursive: true });
  const directory = await mkdtemp(join(tmpdir(), "quorate-browser-"));
  let servers: LocalServers | null = null;
  let cluster: LocalCluster | null = null;
  let browser: Browser | null = null;
  try {
    servers = await startLocalServers({ directory: join(directory, "servers"), etcdMembers: 1 });
    cluster = await startCluster({
      servers,
      directory: join(directory, "cluster"),
      clusterId: unwrap(parseClusterId("browser-test")),
      trustees: 5,
      threshold: 4,
      absent: ["trustee-5"],
      logLevel: "warn",
    });
    say("the cluster runs");
    browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    const page = await browser.newPage({ viewport: DESKTOP, colorScheme: "light" });
    page.setDefaultTimeout(STEP_MS);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      if (message.type() === "error" && !/^Failed to load resource|WebSocket/.test(text))
        complaints.push(text);
    });
    for (const [law, step] of STEPS) {
      await step({ servers, cluster, page, complaints });
      say(`ok  ${law}`);
    }
    return 0;
  } catch (error) {
    const [page] = browser?.contexts()[0]?.pages() ?? [];
    if (page !== undefined) await picture(page, "failed").catch(() => undefined);
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return 1;
  } finally {
    await browser?.close();
    await cluster?.stop();
    await servers?.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

process.exitCode = await main();
