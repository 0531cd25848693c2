import type { AbortOptions } from "@quorate/ports";
import type { SimClock } from "../sim-clock.ts";
import type { SimProcess } from "./sim-process.ts";

/** What one call meets on its way. */
export interface CallFate {
  /** One way, in ms. */
  readonly requestMs: number;
  readonly replyMs: number;
  /** The request never arrives; the caller hears so soon, or waits for its timeout. */
  readonly requestLost?: "silently" | "at once";
  /** It takes effect, and the answer never arrives. */
  readonly replyLost?: "silently" | "at once";
}

/** A server of the simulation as its clients reach it. */
export class SimServer {
  readonly name: string;
  /** Counts restarts: what was under way over one is cut off. */
  #generation = 0;
  #isDown = false;
  #upAgain: (() => void)[] = [];
  #standsStill = false;

  constructor(name: string) {
    this.name = name;
  }

  get generation(): number {
    return this.#generation;
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  /** Connections break and new ones are refused. */
  stop(): void {
    this.#generation++;
    this.#isDown = true;
  }

  start(): void {
    this.#isDown = false;
  }

  /** Takes requests and does nothing, as etcd without a leader; they are carried out afterwards. */
  freeze(): void {
    this.#standsStill = true;
  }

  thaw(): void {
    this.#standsStill = false;
    const waiting = this.#upAgain;
    this.#upAgain = [];
    for (const go of waiting) go();
  }

  /** Calls back as soon as the server does something at all. */
  whenMoving(go: () => void): void {
    if (this.#standsStill) this.#upAgain.push(go);
    else go();
  }
}

export interface SimLinkOptions {
  /** How long a caller waits, by its own clock, in ms. */
  readonly timeoutMs: number;
  /** Asked once for each call. */
  readonly fate: (operation: string) => CallFate;
  /** Whether nothing at all passes now. */
  readonly isCut: () => boolean;
  /** What a caller hears of a failure, retryable always. */
  readonly errorOf: (kind: "unreachable" | "timeout", operation: string) => Error;
}

/** The way between one process and one server, over which calls are slow, lost, or answered in vain. */
export class SimLink {
  readonly process: SimProcess;
  readonly #clock: SimClock;
  readonly #server: SimServer;
  readonly #options: SimLinkOptions;

  constructor(
    options: SimLinkOptions,
    dependencies: {
      readonly clock: SimClock;
      readonly process: SimProcess;
      readonly server: SimServer;
    },
  ) {
    this.#options = options;
    this.#clock = dependencies.clock;
    this.process = dependencies.process;
    this.#server = dependencies.server;
  }

  /**
   * Carries out one call. The effect happens at the server, at most once, perhaps long after
   * the caller gave up; an abort ends the wait and nothing else.
   */
  call<T>(
    operation: string,
    effect: () => T | Promise<T>,
    { signal }: AbortOptions = {},
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      // A dead process says nothing more, and waits for ever.
      if (!this.process.isAlive) return;
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      let open = true;
      const end = (settle: () => void): void => {
        if (!open) return;
        open = false;
        cancelTimeout();
        signal?.removeEventListener("abort", onAbort);
        settle();
      };
      const fail = (kind: "unreachable" | "timeout"): void =>
        end(() => reject(this.#options.errorOf(kind, operation)));
      const onAbort = (): void => end(() => reject(signal?.reason));
      signal?.addEventListener("abort", onAbort, { once: true });
      const cancelTimeout = this.process.clock.schedule(this.#options.timeoutMs, () =>
        fail("timeout"),
      );
      this.#send(operation, effect, {
        answer: (value) => end(() => resolve(value)),
        refuse: (error) => end(() => reject(error)),
        unreachable: () => fail("unreachable"),
      });
    });
  }

  #send<T>(
    operation: string,
    effect: () => T | Promise<T>,
    caller: {
      readonly answer: (value: T) => void;
      readonly refuse: (error: unknown) => void;
      readonly unreachable: () => void;
    },
  ): void {
    const server = this.#server;
    const fate = this.#options.fate(operation);
    const sentAt = server.generation;
    const back = (deliver: () => void): void => {
      this.process.after(fate.replyMs, () => {
        if (this.#options.isCut()) return;
        deliver();
      });
    };
    if (fate.requestLost !== undefined) {
      if (fate.requestLost === "at once") back(caller.unreachable);
      return;
    }
    this.#clock.schedule(fate.requestMs, () => {
      if (this.#options.isCut()) return;
      if (server.isDown || server.generation !== sentAt) return back(caller.unreachable);
      server.whenMoving(() => {
        const doneAt = server.generation;
        const reply = (deliver: () => void): void => {
          if (fate.replyLost === "silently") return;
          const lost = fate.replyLost === "at once";
          back(() => (lost || server.generation !== doneAt ? caller.unreachable() : deliver()));
        };
        // Even the effect of a call that was given up: the server does not know that.
        Promise.resolve()
          .then(effect)
          .then(
            (value) => reply(() => caller.answer(value)),
            (error: unknown) => reply(() => caller.refuse(error)),
          );
      });
    });
  }

  /**
   * Resolves, in the process, when what the server says now has arrived there: after the
   * link's latency, and after a cut has ended. What is said in order arrives in order.
   */
  arrival(operation: string, { signal }: AbortOptions): Promise<void> {
    return new Promise((resolve) => {
      let open = true;
      const done = (): void => {
        if (!open) return;
        open = false;
        signal?.removeEventListener("abort", done);
        resolve();
      };
      signal?.addEventListener("abort", done, { once: true });
      const look = (afterMs: number): void => {
        this.process.after(afterMs, () => {
          if (!open) return;
          if (this.#options.isCut() || this.#server.isDown) look(CUT_LOOK_MS);
          else this.#server.whenMoving(() => this.process.enter(done));
        });
      };
      look(this.#options.fate(operation).replyMs);
    });
  }
}

/** How soon a stream goes on after a cut, in ms. */
const CUT_LOOK_MS = 200;
