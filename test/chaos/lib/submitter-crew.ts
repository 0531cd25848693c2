import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type LoggedProcess, spawnLogged } from "@quorate/devkit";
import { cleanEnvironment } from "@quorate/localcluster";
import type { SeededRandom } from "@quorate/testkit";
import { type FaultMatrix, MODES, type Mode } from "./fault-matrix.ts";

export interface CrewOptions {
  /** Arguments of Node that make it a submitter; the configuration file is added. */
  readonly program: readonly string[];
  readonly configFile: string;
  readonly directory: string;
  readonly size: number;
  readonly leaseTtlMs: number;
  /** Added to each process's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Faults of every process, instead of dealt ones. */
  readonly aim: string | null;
  /** How often the lead was taken so far, as PostgreSQL counts it. */
  readonly leaderEpoch: () => Promise<bigint>;
  readonly say: (text: string) => void;
}

export interface CrewCounts {
  started: number;
  killed: number;
  stopped: number;
  lost: number;
  /** Of the stopped: a successor led when it was woken. */
  wokenBesideSuccessor: number;
  /** Of the woken: it ended by itself. */
  zombiesEnded: number;
  /** Killed by the harness at a moment of its own choice. */
  killedAnywhere: number;
  /** Ended by itself without a fault of its own: deposed, or what it lost was fatal. */
  endedItself: number;
  leads: number;
}

interface Member {
  readonly startedMs: number;
  readonly leadMsMax: number;
  readonly running: LoggedProcess;
  readonly logFile: string;
  read: number;
  leadsSinceMs: number | null;
  standsStill: boolean;
  crashed: boolean;
  woken: boolean;
}

const POLL_MS = 60;
/** A leader that meets none of its faults for so long is ended anyway, so that others come to lead. */
const LEAD_MS_MAX = 9_000;
const LATE_LEAD_MS_MAX = 25_000;
const SUCCESSOR_WAIT_MS = 12_000;
/** One that ends so soon without a fault has not started at all. */
const STARTING_MS = 5_000;
const FAILED_STARTS_MAX = 12;
const FAULT_LINE = /^fault point (?<point>\S+)=(?<mode>kill|stop|lose)@\d+$/;

/**
 * Several submitters alive at once. Each is armed with faults; whoever leads meets them. A killed one is replaced at once;
 * one that stands still is woken when its lease is long gone and a successor leads.
 */
export class SubmitterCrew {
  readonly counts: CrewCounts = {
    started: 0,
    killed: 0,
    stopped: 0,
    lost: 0,
    wokenBesideSuccessor: 0,
    zombiesEnded: 0,
    killedAnywhere: 0,
    endedItself: 0,
    leads: 0,
  };
  readonly #options: CrewOptions;
  readonly #matrix: FaultMatrix;
  readonly #random: SeededRandom;
  readonly #members = new Set<Member>();
  readonly #background = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  #armed = true;
  #failedStarts = 0;
  #loop: Promise<void> | null = null;

  constructor(options: CrewOptions, matrix: FaultMatrix, random: SeededRandom) {
    this.#options = options;
    this.#matrix = matrix;
    this.#random = random;
  }

  /** Rejects when submitters do not start. @returns a promise that ends with `stop`. */
  start(): Promise<void> {
    this.#loop = this.#run();
    return this.#loop;
  }

  /** From now on nobody is armed: those that are get replaced. */
  async disarm(): Promise<void> {
    this.#armed = false;
    await Promise.allSettled(this.#background);
    await Promise.all([...this.#members].map((member) => member.running.kill()));
  }

  /** Ends whoever leads now. @returns whether somebody did. */
  async killLeader(): Promise<boolean> {
    const leader = [...this.#members].find((m) => m.leadsSinceMs !== null && !m.standsStill);
    if (leader === undefined) return false;
    this.counts.killedAnywhere++;
    leader.crashed = true;
    await leader.running.kill();
    return true;
  }

  /** The last lines of what is running, for somebody who looks for a reason. */
  async tails(): Promise<string> {
    const tails = [...this.#members].map(
      async (m) => `${m.logFile}:\n${await m.running.logTail()}`,
    );
    return (await Promise.all(tails)).join("\n");
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the crew goes"));
    await this.#loop?.catch(() => {});
    await Promise.allSettled(this.#background);
    await Promise.all([...this.#members].map((member) => member.running.kill()));
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      while (this.#members.size < this.#options.size) await this.#launch();
      for (const member of this.#members) await this.#look(member);
      await sleep(POLL_MS, undefined, { signal }).catch(() => {});
    }
  }

  async #launch(): Promise<void> {
    const { program, configFile, directory, env, aim } = this.#options;
    const number = ++this.counts.started;
    const logFile = join(directory, `submitter-${number}.log`);
    const dealt = aim === null ? this.#matrix.deal(this.#random) : { faults: aim, late: true };
    const faults = this.#armed ? dealt.faults : "";
    const running = await spawnLogged({
      name: `submitter ${number}`,
      command: process.execPath,
      args: [...program, "--config", configFile],
      logFile,
      env: { ...cleanEnvironment(), ...env, QUORATE_FAULT_POINT: faults },
    });
    this.#members.add({
      startedMs: performance.now(),
      leadMsMax: dealt.late ? LATE_LEAD_MS_MAX : LEAD_MS_MAX,
      running,
      logFile,
      read: 0,
      leadsSinceMs: null,
      standsStill: false,
      crashed: false,
      woken: false,
    });
  }

  async #look(member: Member): Promise<void> {
    const ended = member.running.exit();
    await this.#readLog(member);
    if (ended !== null) {
      this.#members.delete(member);
      if (!member.crashed) await this.#endedItself(member);
      return;
    }
    const { leadsSinceMs } = member;
    const tired = leadsSinceMs !== null && performance.now() - leadsSinceMs > member.leadMsMax;
    if (this.#armed && tired && !member.standsStill) await this.killLeader();
  }

  /** Deposed, or what it lost was fatal. A few that end at once may have lost their start; many have another reason. */
  async #endedItself(member: Member): Promise<void> {
    this.counts.endedItself++;
    const atOnce =
      performance.now() - member.startedMs < STARTING_MS && member.leadsSinceMs === null;
    this.#failedStarts = atOnce ? this.#failedStarts + 1 : 0;
    if (this.#failedStarts >= FAILED_STARTS_MAX)
      throw new Error(`submitters do not start any more:\n${await member.running.logTail()}`);
  }

  async #readLog(member: Member): Promise<void> {
    const text = await readFile(member.logFile).catch(() => Buffer.alloc(0));
    const end = text.lastIndexOf(0x0a) + 1;
    const fresh = text.subarray(member.read, end).toString("utf8");
    member.read = Math.max(member.read, end);
    for (const line of fresh.split("\n")) {
      if (line.includes('"this process leads"')) {
        member.leadsSinceMs = performance.now();
        this.counts.leads++;
      }
      const { point, mode } = FAULT_LINE.exec(line)?.groups ?? {};
      if (point !== undefined && isMode(mode)) this.#met(member, point, mode);
    }
  }

  #met(member: Member, point: string, mode: Mode): void {
    this.#matrix.note({ point, mode });
    if (mode === "lose") this.counts.lost++;
    if (mode === "kill") {
      this.counts.killed++;
      member.crashed = true;
    }
    if (mode === "stop") {
      this.counts.stopped++;
      member.standsStill = true;
      const waking = this.#wakeLater(member).finally(() => this.#background.delete(waking));
      this.#background.add(waking);
    }
  }

  /** Past the lease by as much again, and until another process leads. */
  async #wakeLater(member: Member): Promise<void> {
    const { leaseTtlMs, leaderEpoch } = this.#options;
    const { signal } = this.#stopping;
    const before = await leaderEpoch().catch(() => null);
    const sinceMs = performance.now();
    // Its place is taken by one that runs: two or more are alive besides it.
    this.#members.delete(member);
    await sleep(2 * leaseTtlMs, undefined, { signal }).catch(() => {});
    let succeeded = false;
    while (!succeeded && performance.now() - sinceMs < SUCCESSOR_WAIT_MS && !signal.aborted) {
      const now = await leaderEpoch().catch(() => null);
      succeeded = before !== null && now !== null && now > before;
      if (!succeeded) await sleep(200, undefined, { signal }).catch(() => {});
    }
    if (succeeded) this.counts.wokenBesideSuccessor++;
    member.woken = true;
    await member.running.resume();
    // Deposed, it has to find that out by itself.
    const ended = await Promise.race([
      member.running.exited.then(() => true),
      sleep(8_000, false, { signal, ref: false }).catch(() => false),
    ]);
    await this.#readLog(member);
    if (ended) this.counts.zombiesEnded++;
    await member.running.kill();
  }
}

const isMode = (text: string | undefined): text is Mode => MODES.some((mode) => mode === text);
