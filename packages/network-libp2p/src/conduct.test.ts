import type { PeerId } from "@quorate/core";
import { SimClock } from "@quorate/testkit";
import { describe, expect, it } from "vitest";
import { Conduct } from "./conduct.ts";
import { ForwarderLimits } from "./forwarder-limits.ts";
import { peerIdFromSeed } from "./identity.ts";
import { GOSSIP_LIMITS } from "./options.ts";
import { PeerRoster } from "./peer-roster.ts";
import { type LoggedLine, recordingLogger, seedOf } from "./test-kit.ts";

const self = peerIdFromSeed(seedOf(1));
const author = peerIdFromSeed(seedOf(2));
const forwarder = peerIdFromSeed(seedOf(3));
const stranger = peerIdFromSeed(seedOf(4));
const nobody = peerIdFromSeed(seedOf(99));

function world() {
  const clock = new SimClock();
  const lines: LoggedLine[] = [];
  const muted: PeerId[] = [];
  const conduct = new Conduct(GOSSIP_LIMITS, {
    clock,
    logger: recordingLogger(lines),
    onMute: (peer) => {
      // It must be out before it is disconnected, or it would be let in again at once.
      if (!conduct.isMuted(peer)) throw new Error("cut before it was muted");
      muted.push(peer);
    },
  });
  const roster = new PeerRoster({ banned: [], named: [self] }, { conduct });
  roster.setAuthors([self, author, forwarder]);
  const limits = new ForwarderLimits(GOSSIP_LIMITS, { clock, conduct, roster });
  const secondsUntilMuted = async (
    peer: PeerId,
    perSecond: number,
    send: () => void,
    secondsMax = 120,
  ): Promise<number | null> => {
    for (let tenth = 0; tenth < secondsMax * 10; tenth++) {
      for (let i = 0; i < perSecond / 10; i++) send();
      if (conduct.isMuted(peer)) return tenth / 10;
      await clock.advance(100);
    }
    return null;
  };
  /** One message, as the guard treats it. */
  const deliver = (by: PeerId, claimedAuthor: PeerId, bytes = 300): boolean => {
    if (!roster.isAuthor(claimedAuthor)) {
      limits.hold({ reason: "unknown_author", forwarder: by, claimedAuthor });
      return false;
    }
    if (limits.allows(by, claimedAuthor, bytes, false)) return true;
    limits.hold({ reason: "rate_limited", forwarder: by, claimedAuthor });
    return false;
  };
  return { clock, conduct, roster, limits, lines, muted, deliver, secondsUntilMuted };
}

const FLOOD = 3_300;

describe("a flooding peer is muted", () => {
  it.each<[string, number, (w: ReturnType<typeof world>) => void, PeerId]>([
    ["a trustee with its own messages", 1, (w) => w.deliver(author, author), author],
    ["an outsider under its own name", 1, (w) => w.deliver(stranger, stranger), stranger],
    ["an outsider under names that change", 2, (w) => w.deliver(stranger, nobody), stranger],
    [
      "one with malformed envelopes",
      1,
      (w) => w.limits.hold({ reason: "malformed_envelope", forwarder, claimedAuthor: null }),
      forwarder,
    ],
    [
      "a trustee with another's messages, together with that other",
      8,
      (w) => w.deliver(forwarder, author),
      forwarder,
    ],
    ["a trustee with messages of outsiders", 8, (w) => w.deliver(forwarder, nobody), forwarder],
    [
      "one with empty RPCs",
      60,
      (w) => {
        for (let i = 0; i < 3; i++) w.limits.allowsRpc(forwarder, 1);
      },
      forwarder,
    ],
  ])("%s, within %d s", async (_name, seconds, send, peer) => {
    const w = world();
    const after = await w.secondsUntilMuted(peer, FLOOD, () => send(w));
    expect(after).not.toBeNull();
    expect(after).toBeLessThan(seconds);
    expect(w.muted).toEqual([peer]);
  });

  it("for a handful of invalid signatures sooner than for as many small offences", () => {
    const w = world();
    for (let i = 0; i < 40; i++) w.conduct.blame(forwarder, "invalid_signature");
    expect(w.conduct.isMuted(forwarder)).toBe(false);
    w.conduct.blame(forwarder, "invalid_signature");
    expect(w.conduct.isMuted(forwarder)).toBe(true);
  });

  it("for longer each time, up to the longest, and after a quiet time as if it were the first", async () => {
    const { clock, conduct } = world();
    const mutedForMs = async (): Promise<number> => {
      while (!conduct.isMuted(author)) conduct.blame(author, "rate_limited");
      const sinceMs = clock.monotonicMs();
      while (conduct.isMuted(author)) await clock.advance(1_000);
      expect(conduct.sweep()).toEqual([author]);
      expect(conduct.sweep()).toEqual([]);
      return clock.monotonicMs() - sinceMs;
    };
    const times: number[] = [];
    for (let i = 0; i < 8; i++) times.push(await mutedForMs());
    const seconds = times.map((ms) => ms / 1_000);
    expect(seconds).toEqual([10, 20, 40, 80, 160, 320, 600, 600]);
    await clock.advance(GOSSIP_LIMITS.muteForgivenMs);
    conduct.sweep();
    expect(await mutedForMs()).toBe(10_000);
  });

  it("with one line in the log, however much is still read from it", () => {
    const { conduct, lines, muted } = world();
    for (let i = 0; i < 10_000; i++) conduct.blame(author, "oversized");
    expect(lines.map(({ message }) => message)).toEqual(["peer floods and is muted"]);
    expect(muted).toEqual([author]);
    expect(conduct.mutedCount).toBe(1);
  });
});

describe("an honest peer is not muted", () => {
  it("by publishing as fast as it ever does, even after its connection stalled for 20 s", async () => {
    const w = world();
    let refused = 0;
    const publish = (): void => {
      if (!w.deliver(author, author)) refused++;
    };
    expect(await w.secondsUntilMuted(author, 34, publish)).toBeNull();
    for (let i = 0; i < 34 * 20; i++) publish();
    expect(refused).toBe(0);
    expect(w.conduct.isMuted(author)).toBe(false);
  });

  it("by passing on all it may of a flooding author, nor when a stalled minute of that comes at once", async () => {
    const w = world();
    // An honest forwarder is limited itself, by the same rule.
    const honest = world();
    const forward = (): void => {
      if (honest.limits.forwards(author, 300)) w.deliver(forwarder, author);
    };
    for (let tenth = 0; tenth < 1_200; tenth++) {
      for (let i = 0; i < FLOOD / 10; i++) forward();
      await Promise.all([w.clock.advance(100), honest.clock.advance(100)]);
    }
    expect(w.conduct.isMuted(forwarder)).toBe(false);
    const { messagesPerSecond, messagesBurst } = GOSSIP_LIMITS.forwarded;
    for (let i = 0; i < 60 * messagesPerSecond + messagesBurst; i++) w.deliver(forwarder, author);
    expect(w.conduct.isMuted(forwarder)).toBe(false);
  });

  it("by passing on authors that it still knows and we do not, or that we banned a moment ago", async () => {
    const w = world();
    w.roster.setAuthors([self, forwarder]);
    const { messagesPerSecond } = GOSSIP_LIMITS.forwarded;
    const send = (): void => void w.deliver(forwarder, author);
    expect(await w.secondsUntilMuted(forwarder, messagesPerSecond, send)).toBeNull();
    const banned = (): void =>
      w.limits.hold({ reason: "author_banned", forwarder, claimedAuthor: author });
    expect(await w.secondsUntilMuted(forwarder, messagesPerSecond, banned)).toBeNull();
  });

  it("by our own want of room", async () => {
    const w = world();
    const send = (): void => w.limits.hold({ reason: "no_room", forwarder, claimedAuthor: author });
    expect(await w.secondsUntilMuted(forwarder, FLOOD, send)).toBeNull();
  });

  it("any more once it is named an author: what it did while nobody knew it was no offence", async () => {
    const w = world();
    await w.secondsUntilMuted(stranger, FLOOD, () => w.deliver(stranger, stranger));
    expect(w.conduct.isMuted(stranger)).toBe(true);
    w.roster.setAuthors([self, author, forwarder, stranger]);
    expect(w.roster.isShut(stranger)).toBe(false);
  });

  it("by being named in others' floods: its own allowance is untouched", () => {
    const w = world();
    for (let i = 0; i < FLOOD; i++) w.deliver(forwarder, author);
    const { messagesBurst } = GOSSIP_LIMITS.perAuthor;
    for (let i = 0; i < messagesBurst; i++) expect(w.deliver(author, author)).toBe(true);
    expect(w.conduct.isMuted(author)).toBe(false);
  });
});

describe("allowances", () => {
  it("a stranger may deliver far less than a trustee, whoever's messages", () => {
    const w = world();
    const passed = (by: PeerId): number => {
      let count = 0;
      for (let i = 0; i < 700; i++) if (w.deliver(by, i % 2 === 0 ? author : self)) count++;
      return count;
    };
    expect(passed(stranger)).toBe(GOSSIP_LIMITS.perStranger.messagesBurst);
    expect(passed(forwarder)).toBe(700);
  });

  it("a copy of a message already seen counts a quarter of a new one", () => {
    const w = world();
    let passed = 0;
    for (let i = 0; i < 700; i++) if (w.limits.allows(stranger, author, 10, true)) passed++;
    expect(passed).toBe(4 * GOSSIP_LIMITS.perStranger.messagesBurst);
  });

  it("thousands of peers that come and go leave a bounded memory", () => {
    const w = world();
    for (let i = 0; i < 3_000; i++) {
      const seed = seedOf(7);
      new DataView(seed.buffer).setUint32(0, i);
      const peer = peerIdFromSeed(seed);
      w.deliver(peer, author);
      w.limits.allowsRpc(peer, 10);
      w.conduct.excuse(peer, "reconnecting");
      for (let n = 0; n < 41; n++) w.conduct.blame(peer, "invalid_signature");
    }
    expect(w.muted).toHaveLength(3_000);
    expect(w.conduct.size).toBeLessThanOrEqual(GOSSIP_LIMITS.peersRememberedMax);
    expect(w.limits.size).toBeLessThanOrEqual(20_000);
  });
});
