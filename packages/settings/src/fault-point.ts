import { type FaultPoint, noFault } from "@quorate/ports";

/**
 * For fault tests only: `QUORATE_FAULT_POINT` names the place at which this process kills itself,
 * as a crash would, with nothing flushed and nobody told. Without it every place is passed.
 */
export function faultPointFrom(env: NodeJS.ProcessEnv): FaultPoint {
  const named = env["QUORATE_FAULT_POINT"];
  if (named === undefined || named === "") return noFault;
  return (name) => {
    if (name === named) process.kill(process.pid, "SIGKILL");
  };
}
