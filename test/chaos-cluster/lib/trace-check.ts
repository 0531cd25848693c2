import { execFile } from "node:child_process";
import { join } from "node:path";

/** What `npm run check:trace` says of the steps that a row's processes recorded. */
export interface TraceVerdict {
  readonly files: number;
  /** Lines that were read. */
  readonly steps: number;
  /** Commits on etcd that were held against the model. */
  readonly commits: number;
  /** What could not be held against it, in words. */
  readonly unfollowed: readonly string[];
  /** Steps that the model does not have, in words. */
  readonly refusals: readonly string[];
}

const PROGRAM = join(import.meta.dirname, "..", "..", "trace", "main.ts");
const TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 64 * 1_024 * 1_024;
const SHOWN_CHARS = 300;

/** Holds every change of durable state that was recorded against the TLA+ model, by the program of its own that does that. */
export async function checkTrace(directory: string): Promise<TraceVerdict> {
  const args = ["--conditions=@quorate/source", PROGRAM, "--json", directory];
  const { failed, output, said } = await new Promise<{
    failed: boolean;
    output: string;
    said: string;
  }>((resolve) => {
    const options = { timeout: TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX };
    execFile(process.execPath, args, options, (error, stdout, stderr) =>
      resolve({ failed: error !== null, output: stdout, said: stderr }),
    );
  });
  if (output === "") {
    const unfollowed = [`the trace check failed: ${said}`];
    return { files: 0, steps: 0, commits: 0, unfollowed, refusals: [] };
  }
  const report: {
    files: number;
    lines: number;
    clusters: readonly { commits: number }[];
    unfollowed: readonly string[];
    refusals: readonly unknown[];
  } = JSON.parse(output);
  const refusals = report.refusals.map((one) => JSON.stringify(one).slice(0, SHOWN_CHARS));
  const commits = report.clusters.reduce((total, cluster) => total + cluster.commits, 0);
  const unfollowed = [...report.unfollowed];
  if (commits === 0) unfollowed.push("no commit on etcd is recorded");
  if (failed && refusals.length === 0 && unfollowed.length === 0)
    unfollowed.push("the trace check is not content, and does not say with what");
  return { files: report.files, steps: report.lines, commits, unfollowed, refusals };
}
