import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Seat } from "./rig.ts";

// Two halves of a network, each in a Linux network namespace of its own. Between them there is a bridge, over which nodes
// gossip (in a third namespace, where no firewall of this machine has a say); from each half to this process there is a line of its own, over which it is asked, and reaches etcd through relays.
// So gossip between the halves and a half's way to etcd are cut independently, and silently, as a broken network does it:
// nobody is told, packets just no longer arrive.

const NAME = /^qc(\d+)[abh]$/;
const BRIDGE = "qcbridge";
const HALVES = ["a", "b"] as const;
export type Half = (typeof HALVES)[number];

const DIRECTORIES = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
const locate = (...names: readonly string[]): string | null =>
  names
    .flatMap((name) => DIRECTORIES.map((directory) => `${directory}/${name}`))
    .find((path) => existsSync(path)) ?? null;

function command(...words: readonly string[]): { readonly ok: boolean; readonly said: string } {
  const [program = "", ...args] = words;
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  return { ok: status === 0, said: (error?.message ?? `${stdout}${stderr}`).trim() };
}

/** Why no namespaces can be made here; null when they can. Tries it once. */
export function namespacesUnfit(): string | null {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  const ip = locate("ip");
  if (ip === null) return "there is no ip (package iproute2) to make network namespaces with";
  const trial = `qc${process.pid}a`;
  const made = command(ip, "netns", "add", trial);
  if (!made.ok) return `network namespaces are not permitted here: ${made.said}`;
  const bridged = command(ip, "-n", trial, "link", "add", "qtrial", "type", "bridge");
  command(ip, "netns", "del", trial);
  return bridged.ok ? null : `network namespaces have no bridges here: ${bridged.said}`;
}

/** What `lose` needs besides namespaces. */
export const packetLossUnfit = (): string | null =>
  locate("iptables", "iptables-nft", "iptables-legacy") === null
    ? "there is no iptables to drop packets with"
    : null;

export class Halves {
  readonly #ip: string;
  readonly #id = process.pid;
  /** Free for private use (RFC 1918), and a different one for each process. */
  readonly #net = `10.${100 + (process.pid % 100)}`;
  readonly #relays = new Map<Half, readonly Relay[]>();
  readonly #ports = new Map<Half, number>();

  private constructor(ip: string) {
    this.#ip = ip;
  }

  /** @throws Error with the words of `ip` when it can't be made */
  static async make(etcdEndpoints: readonly string[]): Promise<Halves> {
    const ip = locate("ip");
    if (ip === null) throw new Error("there is no ip");
    const halves = new Halves(ip);
    clearForsaken(ip);
    try {
      halves.#wire();
      for (const half of HALVES) {
        const relays = etcdEndpoints.map((endpoint) =>
          Relay.open(halves.#host(half), Number(new URL(endpoint).port)),
        );
        halves.#relays.set(half, await Promise.all(relays));
      }
      return halves;
    } catch (error) {
      await halves.clear();
      throw error;
    }
  }

  /** A place for one more node in a half. */
  seat(half: Half): Seat {
    const number = (this.#ports.get(half) ?? 0) + 1;
    this.#ports.set(half, number);
    const listen = `/ip4/${this.#gossip(half)}/tcp/${4_000 + number}`;
    return {
      addresses: {
        listen,
        reachable: listen,
        api: { host: this.#line(half), port: 7_700 + number },
      },
      etcdHosts: (this.#relays.get(half) ?? []).map(
        ({ port }) => `http://${this.#host(half)}:${port}`,
      ),
      placement: {
        prefix: [this.#ip, "netns", "exec", this.#namespace(half)],
        preload: [],
        env: {},
      },
    };
  }

  /** No packet passes between the halves any more; nobody is told. */
  cutGossip(): void {
    this.#do("-n", this.#hub, "link", "set", `qcg${this.#id}b`, "nomaster");
  }

  healGossip(): void {
    this.#do("-n", this.#hub, "link", "set", `qcg${this.#id}b`, "master", BRIDGE);
  }

  /** A half's connections with etcd stay open, and nothing comes through. */
  cutEtcd(half: Half): void {
    for (const relay of this.#relays.get(half) ?? []) relay.hold(true);
  }

  healEtcd(half: Half): void {
    for (const relay of this.#relays.get(half) ?? []) relay.hold(false);
  }

  /** Every packet of the gossip that comes in at either half is lost with this probability. */
  lose(probability: number): void {
    const iptables = locate("iptables", "iptables-nft", "iptables-legacy") ?? "iptables";
    for (const half of HALVES) {
      const inside = [this.#ip, "netns", "exec", this.#namespace(half), iptables];
      command(...inside, "-F", "INPUT");
      if (probability === 0) continue;
      const match = ["-i", `qcn${this.#id}${half}`, "-m", "statistic", "--mode", "random"];
      const rule = [...match, "--probability", String(probability), "-j", "DROP"];
      const { ok, said } = command(...inside, "-A", "INPUT", ...rule);
      if (!ok) throw new Error(`iptables: ${said}`);
    }
  }

  /** How many packets `lose` has dropped so far. */
  lostPackets(): number {
    const iptables = locate("iptables", "iptables-nft", "iptables-legacy") ?? "iptables";
    return HALVES.reduce((sum, half) => {
      const inside = [this.#ip, "netns", "exec", this.#namespace(half), iptables];
      const { said } = command(...inside, "-L", "INPUT", "-v", "-x", "-n");
      const dropped = /^\s*(\d+)\s+\d+\s+DROP/m.exec(said)?.[1];
      return sum + Number(dropped ?? 0);
    }, 0);
  }

  async clear(): Promise<void> {
    for (const relays of this.#relays.values())
      await Promise.all(relays.map((relay) => relay.close()));
    // With a namespace go its ends of the wires, and with them the others.
    for (const name of [...HALVES.map((half) => this.#namespace(half)), this.#hub])
      command(this.#ip, "netns", "del", name);
  }

  get #hub(): string {
    return `qc${this.#id}h`;
  }
  #namespace(half: Half): string {
    return `qc${this.#id}${half}`;
  }
  /** Where a half gossips. */
  #gossip(half: Half): string {
    return `${this.#net}.1.${half === "a" ? 1 : 2}`;
  }
  /** Where a half is asked. */
  #line(half: Half): string {
    return `${this.#net}.2.${half === "a" ? 2 : 6}`;
  }
  /** This process, as a half sees it. */
  #host(half: Half): string {
    return `${this.#net}.2.${half === "a" ? 1 : 5}`;
  }

  #wire(): void {
    const id = this.#id;
    const hub = this.#hub;
    this.#do("netns", "add", hub);
    this.#do("-n", hub, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0");
    this.#do("-n", hub, "link", "set", BRIDGE, "up");
    for (const half of HALVES) {
      const namespace = this.#namespace(half);
      this.#do("netns", "add", namespace);
      this.#do("-n", namespace, "link", "set", "lo", "up");
      const port = `qcg${id}${half}`;
      this.#pair(port, `qcn${id}${half}`, namespace, `${this.#gossip(half)}/24`);
      this.#do("link", "set", port, "netns", hub);
      this.#do("-n", hub, "link", "set", port, "master", BRIDGE, "up");
      this.#pair(`qch${id}${half}`, `qcl${id}${half}`, namespace, `${this.#line(half)}/30`);
      this.#do("addr", "add", `${this.#host(half)}/30`, "dev", `qch${id}${half}`);
    }
  }

  #pair(outside: string, inside: string, namespace: string, address: string): void {
    this.#do("link", "add", outside, "type", "veth", "peer", "name", inside);
    this.#do("link", "set", inside, "netns", namespace);
    this.#do("-n", namespace, "addr", "add", address, "dev", inside);
    this.#do("-n", namespace, "link", "set", inside, "up");
    this.#do("link", "set", outside, "up");
  }

  #do(...words: readonly string[]): void {
    const { ok, said } = command(this.#ip, ...words);
    if (!ok) throw new Error(`ip ${words.join(" ")}: ${said}`);
  }
}

/** What a run that was killed could not put away. */
function clearForsaken(ip: string): void {
  const namespaces = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  for (const name of namespaces) {
    const pid = NAME.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    command(ip, "netns", "del", name);
  }
}

/** Passes TCP connections on to a port of this machine, and can hold everything back. */
class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #held = false;
  #waiting: (() => void)[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(host: string, target: number): Promise<Relay> {
    const server = createServer();
    const relay = new Relay(server);
    server.on("connection", (near) => relay.#join(near, target));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, host, resolve);
    });
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the relay is closed");
    return address.port;
  }

  hold(held: boolean): void {
    this.#held = held;
    for (const socket of this.#sockets)
      if (held) socket.pause();
      else socket.resume();
    if (held) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #join(near: Socket, target: number): void {
    this.#sockets.add(near);
    near.on("error", () => near.destroy());
    near.once("close", () => this.#sockets.delete(near));
    const go = (): void => {
      if (near.destroyed) return;
      const far = connect(target, "127.0.0.1");
      this.#sockets.add(far);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        from.on("error", () => from.destroy());
        from.on("data", (data) => void to.write(data));
        from.once("end", () => to.end());
        from.once("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
      near.resume();
    };
    near.pause();
    if (this.#held) this.#waiting.push(go);
    else go();
  }
}
