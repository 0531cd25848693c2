import type { ReadStream, WriteStream } from "node:tty";

const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";
const KEYS_THAT_END = ["q", "Q", "\u0003", "\u0004"];

/** A terminal that is drawn on, until `ended` is aborted by q, Ctrl-C or a signal. */
export interface LiveScreen {
  readonly ended: AbortSignal;
  readonly size: () => { readonly columns: number; readonly rows: number };
  draw(frame: string): void;
  /** Puts the terminal back as it was. Idempotent. */
  close(): void;
}

/** Takes the terminal over: another screen, no cursor, keys as they come. */
export function openScreen(input: ReadStream, output: WriteStream): LiveScreen {
  const over = new AbortController();
  const end = (): void => over.abort();
  const onKey = (chunk: Buffer): void => {
    // Raw mode leaves Ctrl-C and Ctrl-D to us.
    if (KEYS_THAT_END.some((key) => chunk.includes(key))) end();
  };
  const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of SIGNALS) process.on(signal, end);
  output.write(ENTER);
  if (input.isTTY) input.setRawMode(true);
  input.on("data", onKey);
  input.resume();
  let open = true;
  return {
    ended: over.signal,
    size: () => ({ columns: output.columns || 80, rows: output.rows || 24 }),
    draw: (frame) => {
      const lines = frame.split("\n").map((line) => line + CLEAR_LINE);
      output.write(`${HOME}${lines.join("\r\n")}${CLEAR_BELOW}`);
    },
    close: () => {
      if (!open) return;
      open = false;
      input.off("data", onKey);
      if (input.isTTY) input.setRawMode(false);
      input.pause();
      output.write(LEAVE);
      for (const signal of SIGNALS) process.off(signal, end);
    },
  };
}
