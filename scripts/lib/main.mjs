import { delimiter, join } from "node:path";

import { runAttached } from "./exec.mjs";
import { elapsed, SetupError, say, step } from "./log.mjs";
import { ETCD_CACHE_BIN, PROMETHEUS_CACHE_BIN, ROOT } from "./paths.mjs";
import { fetchPrometheus, prometheusIsPresent } from "./prometheus.mjs";
import { setup } from "./setup.mjs";
import { runTests, summaryLine } from "./tests.mjs";

const HELP = `Usage: node scripts/bootstrap.mjs <command> [args…]
   or: npm run <command> -- [args…]

Commands:
  setup     fetch what is needed into this checkout (packages, etcd) and stop
  demo      run the whole system on this machine and show it working
  test      run every check and test; with arguments, only vitest with them
  bench     measure throughput and latency
  bench:chain
            measure how fast decided values reach a chain
  attacks   rehearse attacks on a cluster of this machine and check each
  fuzz      send mutated frames through a node's front door and check what it does
  chaos:submitter
            kill, stop and deceive submitters everywhere and count what reaches the chain
  chaos     break a running cluster in nine ways and check that it does what it must
  load      put load on a cluster and judge it by the specification's criteria
  sim       run thousands of faulty worlds through the production code, each from one seed
  check:tla
            check the TLA+ model, and that each broken twin of it is caught
  check:trace
            hold what a run recorded against the model, step by step
  test:compose
            build the images, run the compose stack on a real engine and look at it
  test:browser
            look at the web page of a real cluster with this system's Chromium
  check:observability
            hold metrics, dashboards and alerts against a real cluster and a real Prometheus
  quorate   the command line: npm run quorate -- --help

Needs Node 20 or newer. Messages of this script go to standard error.
`;

const USAGE_ERROR = 2;
const COMMANDS = {
  setup: runSetup,
  demo: (args) => runSource("packages/cli/src/main.ts", ["demo", ...args], {}),
  quorate: (args) => runSource("packages/cli/src/main.ts", args, { etcdOptional: true }),
  bench: (args) => runSource("test/bench/main.ts", args, {}),
  "bench:chain": (args) => runSource("test/bench/chain-main.ts", args, {}),
  attacks: (args) => runSource("test/attacks/main.ts", args, {}),
  fuzz: (args) => runSource("test/fuzz/main.ts", args, { etcdOptional: true }),
  "chaos:submitter": (args) => runSource("test/chaos/main.ts", args, {}),
  chaos: (args) => runSource("test/chaos-cluster/main.ts", args, {}),
  load: (args) => runSource("test/load/main.ts", args, {}),
  sim: (args) => runSource("test/simulation/main.ts", args, { etcdOptional: true }),
  "check:tla": (args) => runSource("test/tla/main.ts", args, { etcdOptional: true }),
  "check:trace": (args) => runSource("test/trace/main.ts", args, { etcdOptional: true }),
  "test:compose": (args) => runSource("test/compose/main.ts", args, { etcdOptional: true }),
  "test:browser": (args) => runSource("test/browser/main.ts", args, {}),
  "check:observability": runObservabilityCheck,
  test: runTestCommand,
};

/** Runs one command; resolves to the exit code. */
export async function main([command, ...args]) {
  if (command === "--help" || command === "-h" || command === "help") {
    process.stdout.write(HELP);
    return 0;
  }
  if (command === undefined || !Object.hasOwn(COMMANDS, command)) {
    say(command === undefined ? "No command given.\n" : `Unknown command: ${command}\n`);
    process.stderr.write(HELP);
    return USAGE_ERROR;
  }
  try {
    return await COMMANDS[command](args);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    return 1;
  }
}

async function runSetup() {
  const startedMs = performance.now();
  await setup({ etcdOptional: false });
  say(`[5/5] ready, ${elapsed(startedMs)}. Next: npm run demo`);
  return 0;
}

async function runSource(file, args, { etcdOptional = false }) {
  const node = await setup({ etcdOptional });
  return runAttached(node, ["--conditions=@quorate/source", join(ROOT, file), ...args], {
    env: childEnv(),
  });
}

async function runObservabilityCheck(args) {
  if (!prometheusIsPresent()) await step("fetching Prometheus", fetchPrometheus);
  return runSource("packages/observability/src/check.ts", args, {});
}

async function runTestCommand(args) {
  let node;
  try {
    node = await setup({ etcdOptional: false });
    // Without it the tests of the alert rules are skipped, and say so.
    if (!prometheusIsPresent())
      await step("fetching Prometheus", fetchPrometheus).catch((error) => say(error.message));
  } catch (error) {
    // Whoever reads only the last line must not take silence for success.
    say(error instanceof SetupError ? error.message : error.stack);
    process.stdout.write(`${summaryLine({ passed: 0, failed: 1 })}\n`);
    return 1;
  }
  return runTests({ node, args, env: childEnv() });
}

function childEnv() {
  const path = [
    join(ROOT, "node_modules", ".bin"),
    ETCD_CACHE_BIN,
    PROMETHEUS_CACHE_BIN,
    process.env.PATH ?? "",
  ];
  return { ...process.env, PATH: path.join(delimiter) };
}
