import { createInterface } from "node:readline";
import { createGossip } from "./libp2p-gossip.ts";
import { CLUSTER, realClock, recordingLogger, seedOf } from "./test-kit.ts";

/**
 * One node in a process of its own, for the integration tests: takes a JSON line of
 * options, then commands; answers with JSON lines on stdout.
 */

interface Options {
  readonly number: number;
  readonly listen: string;
  readonly bootstrap: readonly string[];
}

type Command =
  | { readonly do: "wait"; readonly peers: number }
  | { readonly do: "publish"; readonly count: number; readonly bytes: number }
  | { readonly do: "stop" };

const say = (line: object): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`);
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function read<T>(): Promise<T | null> {
  const next = await lines.next();
  if (next.done === true) return null;
  const parsed: T = JSON.parse(next.value);
  return parsed;
}

const options = await read<Options>();
if (options === null) throw new Error("no options given");
const gossip = createGossip(
  {
    clusterId: CLUSTER,
    privateKeySeed: seedOf(options.number),
    listen: [options.listen],
    bootstrap: options.bootstrap,
  },
  { logger: recordingLogger(), clock: realClock },
);
let received = 0;
gossip.setValidator(() => {
  received++;
  if (received % 100 === 0) say({ received, cpuMs: process.cpuUsage().user / 1_000 });
  return "ACCEPT";
});
await gossip.start();
say({ address: gossip.status().listening[0] });
for (;;) {
  const command = await read<Command>();
  if (command === null || command.do === "stop") break;
  if (command.do === "wait") {
    await gossip.waitForPeers(command.peers, { signal: AbortSignal.timeout(60_000) });
    say({ peers: gossip.status().subscribers.length });
  } else {
    for (let i = 0; i < command.count; i++) {
      const frame = Buffer.alloc(command.bytes);
      frame.writeUInt32BE(i);
      await gossip.publish(frame);
    }
    say({ published: command.count });
  }
}
await gossip.stop();
// Nothing else may be left that keeps the process alive: it ends by itself or the test fails.
process.stdin.destroy();
