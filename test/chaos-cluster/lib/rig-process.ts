import { type LoggedProcess, spawnLogged, waitUntil } from "@quorate/devkit";
import { type AppName, appCommand, cleanEnvironment, readReadiness } from "@quorate/localcluster";

/** How and where a program of the cluster runs. */
export interface Placement {
  /** Put in front of the command, to run it in a network namespace of its own. */
  readonly prefix: readonly string[];
  /** Node's options: modules that are loaded before the program, to move its clock or to lose its messages. */
  readonly preload: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export const PLAIN: Placement = { prefix: [], preload: [], env: {} };

const READY_TIMEOUT_MS = 90_000;
const READY_POLL_MS = 100;

/** One node or submitter, as a process of its own that can be killed and started again. */
export class RigProcess {
  readonly name: string;
  readonly url: string;
  readonly configFile: string;
  readonly logFile: string;
  placement: Placement;
  readonly #app: AppName;
  #current: LoggedProcess | null = null;
  /** Ends that nobody here asked for. */
  readonly unasked: string[] = [];
  #wanted = false;

  constructor(init: {
    readonly app: AppName;
    readonly name: string;
    readonly url: string;
    readonly configFile: string;
    readonly logFile: string;
    readonly placement?: Placement;
  }) {
    this.#app = init.app;
    this.name = init.name;
    this.url = init.url;
    this.configFile = init.configFile;
    this.logFile = init.logFile;
    this.placement = init.placement ?? PLAIN;
  }

  get running(): boolean {
    return this.#current !== null && this.#current.exit() === null;
  }

  get pid(): number | null {
    return this.#current?.pid ?? null;
  }

  /** @param env for this run only; a fault point, say */
  async launch(env: Readonly<Record<string, string>> = {}): Promise<void> {
    if (this.running) return;
    const { prefix, preload, env: own } = this.placement;
    const imports = preload.flatMap((module) => ["--import", module]);
    const program = [...imports, ...appCommand(this.#app), "--config", this.configFile];
    const [command = process.execPath, ...args] = [...prefix, process.execPath, ...program];
    const started = await spawnLogged({
      name: this.name,
      command,
      args,
      logFile: this.logFile,
      env: { ...cleanEnvironment(), ...own, ...env },
    });
    this.#current = started;
    this.#wanted = true;
    void started.exited.then((exit) => {
      if (this.#wanted && this.#current === started)
        this.unasked.push(`${this.name} ended with ${exit.code ?? exit.signal}`);
    });
  }

  async ready(): Promise<void> {
    let reasons = "it does not answer";
    await waitUntil(
      async (options) => {
        if (!this.running) throw new Error(`${this.name} ended:\n${await this.logTail()}`);
        const answer = await readReadiness(this.url, options);
        reasons = answer.reasons;
        return answer.ready;
      },
      {
        timeoutMs: READY_TIMEOUT_MS,
        pollMs: READY_POLL_MS,
        what: `${this.name} to become ready`,
      },
    ).catch((error: unknown) => {
      if (!this.running) throw error;
      throw new Error(`${this.name} is not ready: ${reasons}`, { cause: error });
    });
  }

  /** SIGKILL, as a crash would look. */
  async kill(): Promise<void> {
    this.#wanted = false;
    await this.#current?.kill();
  }

  /** The next end of the process is meant, however it comes. */
  expectDeath(): Promise<void> {
    this.#wanted = false;
    return this.#current?.exited.then(() => {}) ?? Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#wanted = false;
    await this.#current?.stop();
  }

  async logTail(): Promise<string> {
    return (await this.#current?.logTail()) ?? "";
  }
}
