import type { PeerId } from "@quorate/core";
import type { Clock, Logger, Random } from "@quorate/ports";

export interface RedialerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Dials by these addresses, or by whatever is known of the peer when there are none. */
  readonly dial: (peer: PeerId, addresses: readonly string[]) => Promise<unknown>;
  readonly isConnected: (peer: PeerId) => boolean;
  readonly isBanned: (peer: PeerId) => boolean;
}

interface Target {
  readonly peer: PeerId;
  readonly addresses: readonly string[];
  failures: number;
  connectedAtMs: number | null;
  cancel: (() => void) | null;
}

/** A connection that lasted this long was a real one: the next loss begins with a short pause again. */
const SETTLED_MS = 10_000;

/**
 * Keeps dialling the peers that matter (trustees and bootstrap) whenever they are not
 * connected, for ever. libp2p gives up after a few retries and then forgets that a peer
 * was to be kept: after a bootstrap node's restart nobody ever came back.
 */
export class Redialer {
  readonly #deps: RedialerDeps;
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #targets = new Map<PeerId, Target>();
  #running = false;

  constructor(options: { readonly firstMs: number; readonly maxMs: number }, deps: RedialerDeps) {
    this.#deps = deps;
    this.#firstMs = options.firstMs;
    this.#maxMs = options.maxMs;
  }

  /** Replaces the peers to keep. Those that stay keep their backoff. */
  setTargets(targets: ReadonlyMap<PeerId, readonly string[]>): void {
    for (const [peer, target] of this.#targets) {
      if (targets.has(peer)) continue;
      target.cancel?.();
      this.#targets.delete(peer);
    }
    for (const [peer, addresses] of targets) {
      const old = this.#targets.get(peer);
      old?.cancel?.();
      const target: Target = {
        peer,
        addresses,
        failures: old?.failures ?? 0,
        connectedAtMs: old?.connectedAtMs ?? null,
        cancel: null,
      };
      this.#targets.set(peer, target);
      if (this.#running) this.#schedule(target, 0);
    }
  }

  start(): void {
    this.#running = true;
    for (const target of this.#targets.values()) this.#schedule(target, 0);
  }

  stop(): void {
    this.#running = false;
    for (const target of this.#targets.values()) {
      target.cancel?.();
      target.cancel = null;
    }
  }

  onConnect(peer: PeerId): void {
    const target = this.#targets.get(peer);
    if (target === undefined) return;
    target.connectedAtMs = this.#deps.clock.monotonicMs();
    target.cancel?.();
    target.cancel = null;
  }

  onDisconnect(peer: PeerId): void {
    const target = this.#targets.get(peer);
    if (target === undefined || !this.#running) return;
    // A peer that accepts and hangs up at once (it may have banned us) must not be
    // dialled in a tight loop: only a connection that lasted clears the backoff.
    const lastedMs =
      target.connectedAtMs === null ? 0 : this.#deps.clock.monotonicMs() - target.connectedAtMs;
    target.failures = lastedMs >= SETTLED_MS ? 0 : target.failures + 1;
    target.connectedAtMs = null;
    this.#schedule(target, this.#pauseMs(target.failures));
  }

  /** Dials a peer soon again, as after a lifted ban. */
  nudge(peer: PeerId): void {
    const target = this.#targets.get(peer);
    if (target === undefined || !this.#running) return;
    target.failures = 0;
    this.#schedule(target, 0);
  }

  #schedule(target: Target, delayMs: number): void {
    target.cancel?.();
    target.cancel = this.#deps.clock.schedule(delayMs, () => {
      target.cancel = null;
      void this.#attempt(target);
    });
  }

  async #attempt(target: Target): Promise<void> {
    const { dial, isBanned, isConnected, logger } = this.#deps;
    if (!this.#isCurrent(target) || isConnected(target.peer) || isBanned(target.peer)) return;
    try {
      await dial(target.peer, target.addresses);
    } catch (error) {
      if (!this.#isCurrent(target)) return;
      target.failures++;
      const pauseMs = this.#pauseMs(target.failures);
      logger.debug("peer not reached, dialling again later", {
        peerId: target.peer,
        failures: target.failures,
        pauseMs,
        error: String(error),
      });
      this.#schedule(target, pauseMs);
      return;
    }
    // The connection may be gone again before anyone told us of it.
    if (this.#isCurrent(target) && !isConnected(target.peer) && target.cancel === null)
      this.#schedule(target, this.#pauseMs(++target.failures));
  }

  #isCurrent(target: Target): boolean {
    return this.#running && this.#targets.get(target.peer) === target;
  }

  /** Doubling, capped, and spread over half its length, so that peers do not all come back at one instant. */
  #pauseMs(failures: number): number {
    const full = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(failures, 30));
    return full * (0.5 + this.#deps.random.next() / 2);
  }
}
