import { createServer } from "node:net";
import { check, type DoctorCheck } from "./check.ts";

/** An address to listen on, and what for. */
export interface Listen {
  readonly setting: string;
  readonly host: string;
  readonly port: number;
}

/** Null when it can be listened on; else the system's code. */
export async function listenProblem({ host, port }: Listen): Promise<string | null> {
  const server = createServer();
  const settled = Promise.withResolvers<string | null>();
  server.once("error", (error) =>
    settled.resolve("code" in error ? String(error.code) : error.message),
  );
  server.listen({ host, port, exclusive: true }, () => settled.resolve(null));
  const problem = await settled.promise;
  if (problem === null) {
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    await closed.promise;
  }
  return problem;
}

/**
 * @param found the addresses with what listening on them would meet
 * @param running whether the process that this configuration is for runs here: then it is what has the port
 */
export function checkPorts(
  found: readonly (Listen & { readonly problem: string | null })[],
  running: boolean,
): DoctorCheck {
  const bad = found.filter(({ problem }) => problem !== null);
  const names = found.map(({ host, port }) => `${host}:${port}`).join(", ");
  const [first] = bad;
  if (first === undefined) return check("ports", "ok", `${names} free`);
  if (running && bad.every(({ problem }) => problem === "EADDRINUSE"))
    return check("ports", "ok", `${names}: this process runs and has them`);
  return check(
    "ports",
    "fail",
    bad
      .map((entry) => `${entry.setting} ${entry.host}:${entry.port} ${why(entry.problem)}`)
      .join(", "),
    adviceFor(first),
  );
}

function why(problem: string | null): string {
  if (problem === "EADDRINUSE") return "is taken by another program";
  if (problem === "EADDRNOTAVAIL") return "is no address of this machine";
  if (problem === "EACCES") return "needs rights that this user has not";
  return `can't be listened on (${problem})`;
}

function adviceFor({
  problem,
  port,
  setting,
}: Listen & { readonly problem: string | null }): string {
  if (problem === "EADDRINUSE")
    return `ss -ltnp 'sport = :${port}' tells which; end it, or change ${setting}`;
  if (problem === "EADDRNOTAVAIL")
    return `listen on an address of this machine, or 0.0.0.0, and announce the other`;
  return `change ${setting}`;
}
