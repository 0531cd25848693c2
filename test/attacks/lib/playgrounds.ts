import { join } from "node:path";
import { parseClusterId, unwrap } from "@quorate/core";
import {
  type LocalCluster,
  type LocalServers,
  startCluster,
  startLocalServers,
} from "@quorate/localcluster";
import { ATTACKER, type Attack, THRESHOLD, TRUSTEES } from "./attack.ts";

/** Long enough that no deadline passes unless an attack is about deadlines. */
const DEADLINE_MS = 600_000;
const SETTLE_MS = 500;

/** Servers that all attacks share, and clusters on them: one for those that leave nothing behind, a new one for each other. */
export class Playgrounds {
  readonly #directory: string;
  readonly #servers: LocalServers;
  readonly #stepsDirectory: string | undefined;
  #shared: LocalCluster | null = null;
  #count = 0;

  private constructor(
    directory: string,
    servers: LocalServers,
    stepsDirectory: string | undefined,
  ) {
    this.#directory = directory;
    this.#servers = servers;
    this.#stepsDirectory = stepsDirectory;
  }

  static async open(
    directory: string,
    { stepsDirectory }: { readonly stepsDirectory?: string | undefined } = {},
  ): Promise<Playgrounds> {
    const servers = await startLocalServers({
      directory: join(directory, "servers"),
      etcdMembers: 1,
    });
    return new Playgrounds(directory, servers, stepsDirectory);
  }

  get servers(): LocalServers {
    return this.#servers;
  }

  /** The cluster for an attack, with the attacker's trustees not running. */
  async enter(attack: Attack): Promise<LocalCluster> {
    if (!attack.sharesCluster) return this.#start(attack);
    this.#shared ??= await this.#start(attack);
    return this.#shared;
  }

  /** Gives a cluster back; one that an attack has hurt is used no more. */
  async leave(cluster: LocalCluster, hurt: boolean): Promise<void> {
    if (cluster === this.#shared && !hurt) return;
    if (cluster === this.#shared) this.#shared = null;
    await cluster.stop();
  }

  async close(): Promise<void> {
    await this.#shared?.stop();
    await this.#servers.stop();
  }

  #start(attack: Attack): Promise<LocalCluster> {
    this.#count++;
    return startCluster({
      servers: this.#servers,
      directory: join(this.#directory, `cluster-${this.#count}`),
      clusterId: unwrap(parseClusterId(`attacks-${process.pid}-${this.#count}`)),
      trustees: TRUSTEES,
      threshold: THRESHOLD,
      protocol: { deadlineMs: DEADLINE_MS, settleMs: SETTLE_MS, ...attack.protocol },
      logLevel: "info",
      stepsDirectory: this.#stepsDirectory,
      absent: [...(attack.attackers ?? [ATTACKER])],
    });
  }
}
