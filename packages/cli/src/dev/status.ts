import { connect } from "node:net";
import { resolve } from "node:path";
import { readReadiness } from "@quorate/localcluster";
import { COMMAND } from "../command-name.ts";
import { CliError, EXIT } from "../failure.ts";
import { table } from "../render/table.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";
import type { DevTarget } from "./down.ts";
import { isAlive } from "./process-ref.ts";
import { type DevComponent, runningState } from "./state.ts";

interface Health {
  readonly ok: boolean;
  readonly detail: string;
}

const PROBE_TIMEOUT_MS = 3_000;

/** The health of each part of a local cluster. */
export async function devStatus({ dir, json }: DevTarget, terminal: Terminal): Promise<number> {
  const directory = resolve(dir);
  const state = await runningState(directory);
  if (state === null)
    throw new CliError(`no cluster runs in ${directory}; start one with: ${COMMAND} dev up`);
  const components = await Promise.all(
    state.components.map(async (component) => ({ component, health: await probe(component) })),
  );
  const ok = state.phase === "ready" && components.every(({ health }) => health.ok);
  if (json === true)
    terminal.data(
      jsonDocument({
        ok,
        phase: state.phase,
        directory,
        supervisorPid: state.supervisor.pid,
        components: components.map(({ component, health }) => ({
          name: component.name,
          kind: component.kind,
          url: component.url,
          pid: component.process.pid,
          ...health,
        })),
      }),
    );
  else {
    const { good, bad, dim } = terminal.dataStyle;
    const rows = components.map(({ component, health }) => [
      component.name,
      health.ok ? good("ok") : bad("not ok"),
      String(component.process.pid),
      withoutPassword(component.url),
      health.detail,
    ]);
    terminal.data(`${directory}: ${state.phase}`);
    terminal.data(table(["PART", "", "PID", "URL", "DETAIL"], rows, dim));
  }
  return ok ? EXIT.ok : EXIT.failed;
}

async function probe(component: DevComponent): Promise<Health> {
  if (!(await isAlive(component.process)))
    return { ok: false, detail: `its process is gone; see ${component.logFile}` };
  switch (component.kind) {
    case "node":
    case "submitter": {
      const { ready, reasons } = await readReadiness(component.url);
      return { ok: ready, detail: ready ? "ready" : reasons };
    }
    case "etcd":
      return await ask(`${component.url}/health`, null, "health");
    case "anvil":
      return await ask(
        component.url,
        { jsonrpc: "2.0", id: 1, method: "eth_blockNumber" },
        "result",
      );
    case "postgres":
      return await accepts(new URL(component.url));
    default:
      return component.kind satisfies never;
  }
}

async function ask(url: string, body: object | null, key: string): Promise<Health> {
  try {
    const response = await fetch(url, {
      ...(body === null
        ? {}
        : {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify(body),
          }),
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    const answer: unknown = await response.json();
    const value: unknown =
      typeof answer === "object" && answer !== null ? Reflect.get(answer, key) : undefined;
    const ok = response.ok && value !== undefined && value !== "false";
    return { ok, detail: `${key} ${String(value)}` };
  } catch {
    return { ok: false, detail: "does not answer" };
  }
}

function accepts({ hostname, port }: URL): Promise<Health> {
  return new Promise((settle) => {
    const socket = connect({ host: hostname, port: Number(port), timeout: PROBE_TIMEOUT_MS });
    const end = (ok: boolean): void => {
      socket.destroy();
      settle({ ok, detail: ok ? "accepts connections" : "does not answer" });
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
  });
}

function withoutPassword(url: string): string {
  const parsed = new URL(url);
  if (parsed.password === "") return url;
  parsed.password = "";
  return parsed.href;
}
