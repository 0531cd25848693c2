/** A failure with a message for the person at the terminal; no stack is printed. */
export class SetupError extends Error {}

/** Writes one line to standard error. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/** Time since `startedMs`, for people: "0.4 s", "31 s". */
export function elapsed(startedMs) {
  const seconds = (performance.now() - startedMs) / 1000;
  return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}

/** Runs `work` and prints one line about it with the time it took. */
export async function step(label, work) {
  const startedMs = performance.now();
  process.stderr.write(`${label}… `);
  try {
    const note = await work();
    say(`${typeof note === "string" ? `${note}, ` : ""}${elapsed(startedMs)}`);
  } catch (error) {
    say(`failed after ${elapsed(startedMs)}`);
    throw error;
  }
}
