import { PLAIN, type Terminal } from "./terminal.ts";

/** A terminal that keeps what it is told, for tests. */
export interface RecordingTerminal extends Terminal {
  readonly stdout: () => string;
  readonly stderr: () => string;
}

export function recordingTerminal(): RecordingTerminal {
  const out: string[] = [];
  const err: string[] = [];
  return {
    data: (text) => void out.push(text),
    note: (text) => void err.push(text),
    style: PLAIN,
    dataStyle: PLAIN,
    stdout: () => out.join("\n"),
    stderr: () => err.join("\n"),
  };
}
