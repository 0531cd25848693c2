/** What the engine says of one container of a compose project. */
export interface ContainerState {
  readonly service: string;
  readonly id: string;
  /** created, running, paused, restarting, exited or dead. */
  readonly status: string;
  /** Null where there is no health check. */
  readonly health: string | null;
  readonly exitCode: number;
  readonly restarts: number;
  readonly outOfMemory: boolean;
  readonly user: string;
  readonly readOnlyRoot: boolean;
  readonly capabilitiesDropped: readonly string[];
  readonly memoryLimitBytes: number;
  readonly securityOptions: readonly string[];
  readonly hasInit: boolean;
}

/** Services that do one thing and end. */
export const ONE_SHOT = ["archive-owner", "cluster-init", "anvil-setup"] as const;

export function isOneShot(service: string): boolean {
  return ONE_SHOT.some((name) => name === service);
}

type Fields = { readonly [name: string]: unknown };

/** Reads `docker inspect` of containers that compose has made. @throws Error when it is something else */
export function parseInspect(text: string): readonly ContainerState[] {
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) throw new Error("docker inspect gave no list");
  return list.map((item) => {
    const container = fields(item);
    const state = fields(container["State"]);
    const config = fields(container["Config"]);
    const host = fields(container["HostConfig"]);
    const health = fields(state["Health"])["Status"];
    const service = fields(config["Labels"])["com.docker.compose.service"];
    if (typeof service !== "string") throw new Error("a container is of no compose service");
    return {
      service,
      id: text_(container["Id"]),
      status: text_(state["Status"]),
      health: typeof health === "string" && health !== "none" ? health : null,
      exitCode: Number(state["ExitCode"] ?? 0),
      restarts: Number(container["RestartCount"] ?? 0),
      outOfMemory: state["OOMKilled"] === true,
      user: text_(config["User"]),
      readOnlyRoot: host["ReadonlyRootfs"] === true,
      capabilitiesDropped: texts(host["CapDrop"]),
      memoryLimitBytes: Number(host["Memory"] ?? 0),
      securityOptions: texts(host["SecurityOpt"]),
      hasInit: host["Init"] === true,
    };
  });
}

/** As people read it: "running, healthy", "exited (137)". */
export function describeState({ status, health, exitCode }: ContainerState): string {
  if (status === "exited" || status === "dead") return `${status} (${exitCode})`;
  return health === null ? status : `${status}, ${health}`;
}

/** Whether it is as it should be in a stack that works: done with its work, or running and not known to be ill. */
export function isWell(state: ContainerState): boolean {
  if (isOneShot(state.service)) return state.status === "exited" && state.exitCode === 0;
  return state.status === "running" && (state.health === null || state.health === "healthy");
}

function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function text_(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
