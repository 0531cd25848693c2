import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { capture, failureText, runAttached } from "./exec.mjs";
import { elapsed, say } from "./log.mjs";
import { CACHE, ROOT } from "./paths.mjs";

const STATIC_CHECKS = [
  { name: "format", command: "biome", args: ["format", "."] },
  { name: "types", command: "tsc", args: ["-b"] },
  { name: "lint", command: "oxlint", args: ["--type-aware"] },
];

const PROJECTS = ["unit", "integration", "containers"];
/** The containers come last, and need five minutes; whoever waits for the tests waits for 25 minutes at most. */
const CONTAINERS_NOT_AFTER_MS = 15 * 60_000;

/**
 * Runs the static checks and the vitest projects, or, given arguments, vitest alone with them.
 *
 * The last line on standard output is `N passed, N failed`. Resolves to 0 only
 * when nothing failed and something ran.
 */
export async function runTests({ node, args, env }) {
  const total = { passed: 0, failed: 0 };
  const add = ({ passed, failed }) => {
    total.passed += passed;
    total.failed += failed;
  };
  let ran = 0;
  if (args.length === 0) {
    for (const check of STATIC_CHECKS) add(await runCheck(check, env));
  }
  const runs =
    args.length === 0
      ? PROJECTS.map((project) => ({ label: project, extra: ["--project", project] }))
      : [{ label: "selected", extra: args }];
  const startedMs = performance.now();
  for (const { label, extra } of runs) {
    if (label === "containers" && performance.now() - startedMs > CONTAINERS_NOT_AFTER_MS) {
      say(
        "NOT RUN: the containers' test, for this machine took too long for the others; npm run test:compose runs it",
      );
      continue;
    }
    const counts = await runVitest({ node, label, extra, env });
    ran += counts.passed + counts.failed;
    add(counts);
  }
  if (ran === 0) {
    say("no test ran");
    total.failed += 1;
  }
  process.stdout.write(`${summaryLine(total)}\n`);
  return total.failed === 0 ? 0 : 1;
}

/** The line that tools read. */
export function summaryLine({ passed, failed }) {
  return `${passed} passed, ${failed} failed`;
}

async function runCheck({ name, command, args }, env) {
  const startedMs = performance.now();
  const file = join(ROOT, "node_modules", ".bin", command);
  const { code, output } = await capture(file, args, { env });
  say(`${code === 0 ? "ok  " : "FAIL"} ${name} ${elapsed(startedMs)}`);
  if (code !== 0) say(failureText(command, args, code, output));
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

async function runVitest({ node, label, extra, env }) {
  const report = join(CACHE, `vitest-${label}.json`);
  mkdirSync(CACHE, { recursive: true });
  // A report left by an earlier run must not speak for a run that crashed.
  rmSync(report, { force: true });
  const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const code = await runAttached(node, [vitest, "run", ...extra, ...reporters], { env });
  let text = null;
  try {
    text = readFileSync(report, "utf8");
  } catch {
    say(`vitest (${label}) left no report`);
  }
  return countResults({ text, code });
}

/**
 * Passed and failed tests of one vitest run, given its JSON report (or null) and exit code.
 *
 * A file that fails before its tests run counts as one failure, and so does a
 * run that ends badly although every test passed.
 */
export function countResults({ text, code }) {
  let report;
  try {
    report = JSON.parse(text ?? "");
  } catch {
    return { passed: 0, failed: 1 };
  }
  const passed = report.numPassedTests;
  const brokenFiles = report.testResults.filter(
    (file) =>
      file.status === "failed" && !file.assertionResults.some(({ status }) => status === "failed"),
  ).length;
  const failed = report.numFailedTests + brokenFiles;
  return failed === 0 && code !== 0 ? { passed, failed: 1 } : { passed, failed };
}
