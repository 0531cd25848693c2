import { writeSync } from "node:fs";
import { FaultLoss, type FaultPoint, noFault } from "@quorate/ports";

const VARIABLE = "QUORATE_FAULT_POINT";
const STDERR = 2;
const FAULT =
  /^(?<name>[a-z0-9][a-z0-9.-]*)(?:=(?<mode>kill|stop|lose))?(?:@(?<passage>[1-9]\d{0,8}))?$/;

/** What happens at the place: SIGKILL of this process, SIGSTOP of it, or the message that goes past is lost. */
export type FaultMode = "kill" | "stop" | "lose";

/** One armed fault. */
export interface Fault {
  readonly name: string;
  readonly mode: FaultMode;
  /** It fires at this passage and at no other, counted from 1. */
  readonly passage: number;
}

/** Takes what befalls the process out of the module, for its tests. */
export interface FaultActions {
  readonly signal: (signal: "SIGKILL" | "SIGSTOP") => void;
  readonly say: (line: string) => void;
}

// Written in one call and past every buffer: after SIGKILL nothing is flushed.
const REAL: FaultActions = {
  signal: (signal) => void process.kill(process.pid, signal),
  say: (line) => {
    try {
      writeSync(STDERR, `${line}\n`);
    } catch {
      // A closed standard error must not change what the fault does.
    }
  },
};

/**
 * For fault tests only: `QUORATE_FAULT_POINT=name[=mode][@n]`, several separated by commas, names places at which
 * this process kills itself (`kill`, the default: as a crash would, with nothing flushed and nobody told), stands still
 * (`stop`, until somebody sends SIGCONT) or loses what goes past (`lose`). `@n` is the passage at which it fires, the first
 * by default; each fires once, after a line on standard error that says so. Without the variable every place is passed.
 * @throws TypeError naming the part that can't be read.
 */
export function faultPointFrom(env: NodeJS.ProcessEnv, actions: FaultActions = REAL): FaultPoint {
  const text = env[VARIABLE];
  if (text === undefined || text === "") return noFault;
  return faultPointOf(text.split(",").map(parseFault), actions);
}

function parseFault(text: string): Fault {
  const { name, mode = "kill", passage = "1" } = FAULT.exec(text.trim())?.groups ?? {};
  if (name === undefined || (mode !== "kill" && mode !== "stop" && mode !== "lose"))
    throw new TypeError(
      `${VARIABLE}: ${JSON.stringify(text)} is no fault; write name, name=kill, name=stop or name=lose, with @n for the n-th passage, and commas between several`,
    );
  return { name, mode, passage: Number(passage) };
}

function faultPointOf(faults: readonly Fault[], { signal, say }: FaultActions): FaultPoint {
  const passed = new Map<string, number>(faults.map(({ name }) => [name, 0]));
  return (name) => {
    const before = passed.get(name);
    if (before === undefined) return;
    passed.set(name, before + 1);
    for (const fault of faults) {
      if (fault.name !== name || fault.passage !== before + 1) continue;
      say(`fault point ${name}=${fault.mode}@${fault.passage}`);
      if (fault.mode === "lose") throw new FaultLoss(name);
      signal(fault.mode === "kill" ? "SIGKILL" : "SIGSTOP");
    }
  };
}
