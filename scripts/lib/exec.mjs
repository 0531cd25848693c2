import { spawn } from "node:child_process";
import { constants } from "node:os";
import { SetupError } from "./log.mjs";
import { ROOT } from "./paths.mjs";

const TAIL_LINES = 40;

/**
 * Runs a program to its end with its output kept back.
 *
 * Resolves to `{code, output}`; a program that cannot be started has code 127.
 */
export function capture(command, args, { cwd = ROOT, env = process.env, timeoutMs = 0 } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    // Not spawn's own timeout: that one keeps us alive when the program does not exist.
    const timer = timeoutMs > 0 ? setTimeout(() => child.kill("SIGKILL"), timeoutMs) : undefined;
    const settle = (result) => {
      clearTimeout(timer);
      unforward();
      resolve(result);
    };
    const chunks = [];
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.stderr.on("data", (chunk) => chunks.push(chunk));
    const unforward = forwardSignals(child);
    child.on("error", (error) => settle({ code: 127, output: error.message }));
    child.on("close", (code, signal) =>
      settle({ code: exitCode(code, signal), output: Buffer.concat(chunks).toString("utf8") }),
    );
  });
}

/** Like `capture`, but a failure ends the set-up with the program's last lines and its command. */
export async function mustRun(command, args, options = {}) {
  const { code, output } = await capture(command, args, options);
  if (code === 0) return output;
  throw new SetupError(failureText(command, args, code, output));
}

/** The last lines of a failed program and the exact command, to run it by hand. */
export function failureText(command, args, code, output) {
  const tail = output.trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
  return `${tail}\n\nThis command failed with exit code ${code}:\n  ${[command, ...args].map(quote).join(" ")}`;
}

/** Runs a program on this terminal; resolves to the exit code a shell would report. */
export function runAttached(command, args, { env = process.env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, env, stdio: "inherit" });
    const unforward = forwardSignals(child);
    child.on("error", (error) => {
      unforward();
      process.stderr.write(`cannot start ${command}: ${error.message}\n`);
      resolve(127);
    });
    child.on("exit", (code, signal) => {
      unforward();
      resolve(exitCode(code, signal));
    });
  });
}

// While a child runs, the signals are its own to answer; we live until it ends
// and then report its exit code.
function forwardSignals(child) {
  const forward = (signal) => {
    // Ctrl-C at a terminal reaches the whole foreground group, the child
    // included; a second one would look like an impatient user's.
    if (signal === "SIGINT" && process.stdin.isTTY === true) return;
    child.kill(signal);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, forward);
  return () => {
    for (const signal of signals) process.off(signal, forward);
  };
}

function exitCode(code, signal) {
  return code ?? 128 + (constants.signals[signal] ?? 0);
}

function quote(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
