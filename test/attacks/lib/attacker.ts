import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { bytesToHex } from "@quorate/core";
import { cleanEnvironment } from "@quorate/localcluster";
import type {
  AttackerAnswers,
  AttackerCommand,
  AttackerReply,
  ConnectOutcome,
  FloodJunk,
} from "./attacker-protocol.ts";
import { fromJson, messagesRpc, type WireMessage } from "./wire.ts";

const STOP_TIMEOUT_MS = 3_000;
const CONNECT_TIMEOUT_MS = 5_000;

type CommandOf<D extends AttackerCommand["do"]> = Omit<Extract<AttackerCommand, { do: D }>, "do">;

/** The attacker's process: identities on real libp2p that keep to no rule. */
export interface Attacker {
  readonly pid: number;
  call<D extends AttackerCommand["do"]>(
    what: D,
    command: CommandOf<D>,
  ): Promise<AttackerAnswers[D]>;
  /** Ends it. Idempotent. */
  stop(): Promise<void>;
}

/** Starts the attacker's program; it ends when its stdin does, and so with us. */
export function startAttacker(): Attacker {
  const program = fileURLToPath(new URL("./attacker-process.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions=@quorate/source", program], {
    stdio: ["pipe", "pipe", "inherit"],
    env: cleanEnvironment(),
    detached: true,
  });
  const waiting = new Map<
    number,
    { resolve: (answer: unknown) => void; reject: (error: Error) => void }
  >();
  let next = 0;
  // It may end between two writes; its exit says so.
  child.stdin.on("error", () => {});
  createInterface({ input: child.stdout }).on("line", (line) => {
    const reply: AttackerReply = JSON.parse(line);
    const entry = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ("failed" in reply) entry?.reject(new Error(`the attacker: ${reply.failed}`));
    else entry?.resolve(reply.answer);
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  void exited.then(() => {
    for (const { reject } of waiting.values()) reject(new Error("the attacker's process ended"));
  });
  const call = <D extends AttackerCommand["do"]>(what: D, command: CommandOf<D>) =>
    new Promise<AttackerAnswers[D]>((resolve, reject) => {
      const id = next++;
      waiting.set(id, { resolve: (answer) => resolve(answer as AttackerAnswers[D]), reject });
      child.stdin.write(`${JSON.stringify({ ...command, do: what, id })}\n`);
    });
  return { pid: child.pid ?? 0, call, stop: () => stop(child, exited) };
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.stdin?.end();
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/** One identity of the attacker's. */
export class EvilPeer {
  readonly name: string;
  readonly peerId: string;
  readonly addresses: readonly string[];
  readonly #attacker: Attacker;

  private constructor(name: string, opened: AttackerAnswers["open"], attacker: Attacker) {
    this.name = name;
    this.peerId = opened.peerId;
    this.addresses = opened.addresses;
    this.#attacker = attacker;
  }

  static async open(
    attacker: Attacker,
    options: {
      readonly name: string;
      readonly seed: Uint8Array;
      readonly listen?: readonly string[];
      readonly relay?: boolean;
    },
  ): Promise<EvilPeer> {
    const { name, seed, listen = [], relay = false } = options;
    const opened = await attacker.call("open", {
      peer: name,
      seedHex: bytesToHex(seed),
      listen,
      relay,
    });
    return new EvilPeer(name, opened, attacker);
  }

  /** Tries every address. */
  async connect(
    addresses: readonly string[],
    topics: readonly string[],
    timeoutMs = CONNECT_TIMEOUT_MS,
  ): Promise<readonly ConnectOutcome[]> {
    const answer = await this.#attacker.call("connect", {
      peer: this.name,
      addresses,
      topics,
      timeoutMs,
    });
    return answer.outcomes;
  }

  /** Publishes messages in one RPC. @returns when, in ms since the Unix epoch, and to how many */
  publish(
    messages: readonly WireMessage[],
    to: readonly string[] = [],
  ): Promise<AttackerAnswers["send"]> {
    return this.send([messagesRpc(messages)], to);
  }

  /** Sends RPCs of any content. */
  send(rpcs: readonly Uint8Array[], to: readonly string[] = []): Promise<AttackerAnswers["send"]> {
    return this.#attacker.call("send", {
      peer: this.name,
      to,
      rpcs: rpcs.map((rpc) => Buffer.from(rpc).toString("base64")),
    });
  }

  /** Puts bytes on the stream that need not even be an RPC. */
  sendRaw(bytes: Uint8Array, to: readonly string[] = []): Promise<AttackerAnswers["send"]> {
    const raw = Buffer.from(bytes).toString("base64");
    return this.#attacker.call("send", { peer: this.name, to, rpcs: [], raw });
  }

  /** Makes a flood ready. */
  async arm(request: {
    readonly seed: Uint8Array;
    readonly topic: string;
    readonly count: number;
    readonly junk: FloodJunk;
  }): Promise<void> {
    const { seed, ...rest } = request;
    await this.#attacker.call("arm", { ...rest, peer: this.name, seedHex: bytesToHex(seed) });
  }

  /** Lets it loose. */
  fire(request: Omit<CommandOf<"fire">, "peer">): Promise<AttackerAnswers["fire"]> {
    return this.#attacker.call("fire", { ...request, peer: this.name });
  }

  /** Everything overheard so far, newest last. */
  async heard(): Promise<readonly WireMessage[]> {
    const { messages } = await this.#attacker.call("heard", { peer: this.name });
    return messages.map(fromJson);
  }

  /** Who lets it in at this moment. */
  async admittedBy(): Promise<readonly string[]> {
    return (await this.#attacker.call("links", { peer: this.name })).admitted;
  }

  async close(): Promise<void> {
    await this.#attacker.call("close", { peer: this.name });
  }
}
