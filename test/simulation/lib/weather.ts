import type { CallFate, GossipFault, SeededRandom } from "@quorate/testkit";
import { prng } from "@quorate/testkit";
import type { Fault, FaultKind } from "./faults.ts";

/** The faults that are on at present, and what they do to each message and call. */
export class Weather {
  readonly #on = new Set<Fault>();
  /** How often each kind struck, to be reported. */
  readonly struck = new Map<FaultKind, number>();

  begin(fault: Fault): void {
    this.#on.add(fault);
  }

  end(fault: Fault): void {
    this.#on.delete(fault);
  }

  clear(): void {
    this.#on.clear();
  }

  strike(kind: FaultKind): void {
    this.struck.set(kind, (this.struck.get(kind) ?? 0) + 1);
  }

  active(kind: FaultKind): readonly Fault[] {
    return [...this.#on].filter((fault) => fault.kind === kind);
  }

  /** Of one kind, the first that befalls this client. */
  #at(kind: FaultKind, place: number, places: number): Fault | undefined {
    for (const fault of this.#on)
      if (
        fault.kind === kind &&
        (fault.target % (places + 1) === places || fault.target % (places + 1) === place)
      )
        return fault;
    return undefined;
  }

  /** What happens to a message on the link between two trustees. */
  gossip(random: SeededRandom, from: number, to: number, trustees: number): GossipFault | null {
    const latencyMs = 1 + random.next() * 12;
    if (this.isGossipCut(from, to, trustees)) return { drop: true };
    const loss = this.#at("gossip-loss", from, trustees);
    if (loss !== undefined && random.next() < 0.2 + 0.8 * loss.extent) {
      this.strike("gossip-loss");
      return { drop: true };
    }
    let delayMs = latencyMs;
    const slow = this.#at("gossip-delay", to, trustees);
    if (slow !== undefined) {
      this.strike("gossip-delay");
      delayMs += random.next() * 3_000 * slow.extent;
    }
    const twice = this.#at("gossip-duplicate", from, trustees);
    if (twice === undefined || random.next() > 0.5) return { delayMs };
    this.strike("gossip-duplicate");
    return { delayMs, repeat: 1 + random.below(3) };
  }

  isGossipCut(from: number, to: number, trustees: number): boolean {
    for (const fault of this.#on) {
      const cut =
        fault.kind === "gossip-partition"
          ? sideOf(fault, from) !== sideOf(fault, to)
          : fault.kind === "gossip-isolate" && [from, to].includes(fault.target % trustees);
      if (!cut) continue;
      this.strike(fault.kind);
      return true;
    }
    return false;
  }

  /** What happens to one call to etcd. */
  etcd(random: SeededRandom, place: number, places: number, operation: string): CallFate {
    let requestMs = 0.3 + random.next() * 2;
    let replyMs = 0.3 + random.next() * 2;
    const slow = this.#at("etcd-slow", place, places);
    if (slow !== undefined) {
      this.strike("etcd-slow");
      requestMs += random.next() * 3_500 * slow.extent;
      replyMs += random.next() * 1_500 * slow.extent;
    }
    const lag = this.#at("etcd-watch-lag", place, places);
    if (lag !== undefined && operation === "watch") {
      this.strike("etcd-watch-lag");
      replyMs += random.next() * 4_000 * lag.extent;
    }
    return this.#losing(
      random,
      place,
      places,
      { requestMs, replyMs },
      "etcd-request-lost",
      "etcd-reply-lost",
    );
  }

  isEtcdCut(place: number, places: number): boolean {
    return this.#cut("etcd-cut", place, places);
  }

  postgres(random: SeededRandom, place: number, places: number): CallFate {
    const slow = this.#at("pg-slow", place, places);
    if (slow !== undefined) this.strike("pg-slow");
    const extraMs = slow === undefined ? 0 : random.next() * 2_000 * slow.extent;
    const fate = { requestMs: 0.2 + random.next() + extraMs, replyMs: 0.2 + random.next() };
    return this.#losing(random, place, places, fate, null, "pg-commit-unknown");
  }

  isPostgresCut(place: number, places: number): boolean {
    return this.#cut("pg-cut", place, places);
  }

  rpc(random: SeededRandom, place: number, places: number): CallFate {
    const slow = this.#at("rpc-slow", place, places);
    if (slow !== undefined) this.strike("rpc-slow");
    const extraMs = slow === undefined ? 0 : random.next() * 3_000 * slow.extent;
    const fate = { requestMs: 2 + random.next() * 15 + extraMs, replyMs: 2 + random.next() * 15 };
    return this.#losing(random, place, places, fate, null, "rpc-reply-lost");
  }

  isRpcCut(place: number, places: number): boolean {
    return this.#cut("rpc-down", place, places);
  }

  lying(place: number, places: number): Fault | undefined {
    return this.#at("rpc-lies", place, places);
  }

  forgetting(place: number, places: number): Fault | undefined {
    return this.#at("chain-forgets-sends", place, places);
  }

  #cut(kind: FaultKind, place: number, places: number): boolean {
    if (this.#at(kind, place, places) === undefined) return false;
    this.strike(kind);
    return true;
  }

  #losing(
    random: SeededRandom,
    place: number,
    places: number,
    fate: CallFate,
    request: FaultKind | null,
    reply: FaultKind,
  ): CallFate {
    const how = random.next() < 0.6 ? "at once" : "silently";
    const lostRequest = request === null ? undefined : this.#at(request, place, places);
    if (
      request !== null &&
      lostRequest !== undefined &&
      random.next() < 0.1 + 0.6 * lostRequest.extent
    ) {
      this.strike(request);
      return { ...fate, requestLost: how };
    }
    const lostReply = this.#at(reply, place, places);
    if (lostReply === undefined || random.next() >= 0.1 + 0.6 * lostReply.extent) return fate;
    this.strike(reply);
    return { ...fate, replyLost: how };
  }
}

/** On which side of a partition a trustee is. */
function sideOf(fault: Fault, index: number): boolean {
  return prng(fault.salt + index).next() < 0.5;
}
