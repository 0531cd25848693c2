import { systemClock } from "@quorate/telemetry";
import { nodeClientFrom, submitterClientFrom, tokenFrom } from "../clients.ts";
import { EXIT } from "../failure.ts";
import type { Terminal } from "../terminal.ts";
import { watchFrame, watchLine } from "../watch/frame.ts";
import { openScreen } from "../watch/live.ts";
import { takeSnapshot, type WatchSnapshot } from "../watch/snapshot.ts";

export interface WatchOptions {
  readonly node?: string;
  readonly submitter?: string;
  readonly intervalMs: number;
  readonly count?: number;
  readonly json?: true;
}

/** Exit code of the last look: 1 when the node did not answer. */
export async function watchAction(options: WatchOptions, terminal: Terminal): Promise<number> {
  const clock = systemClock();
  const node = nodeClientFrom(options.node, process.env);
  const submitter = submitterClientFrom(options.submitter, process.env);
  const look = () => takeSnapshot(node, submitter, () => clock.nowMs(), tokenFrom(process.env));
  const isDrawn = options.json !== true && process.stdout.isTTY && process.stdin.isTTY;
  const screen = isDrawn ? openScreen(process.stdin, process.stdout) : null;
  const over = new AbortController();
  // Without a screen Ctrl-C ends the process as it ends any other.
  const signal = screen?.ended ?? over.signal;
  let last: WatchSnapshot | null = null;
  let lastLine = "";
  try {
    for (let looks = 0; !signal.aborted; ) {
      last = await look();
      looks += 1;
      if (screen !== null) screen.draw(watchFrame(last, terminal.dataStyle, screen.size()));
      else if (options.json === true) terminal.data(JSON.stringify(last));
      else {
        const line = watchLine(last);
        if (line !== lastLine) terminal.data(`${new Date(last.atMs).toISOString()} ${line}`);
        lastLine = line;
      }
      if (looks === options.count) break;
      await clock.sleep(options.intervalMs, { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  } finally {
    screen?.close();
  }
  return last !== null && "problem" in last.node ? EXIT.failed : EXIT.ok;
}
