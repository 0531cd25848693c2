import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseClusterId, parseEpoch, parseEvmAddress, parseNodeId, parsePeerId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { unwrap } from "./result.ts";
import { addTrustee, changeThreshold, removeTrustee } from "./trustee-change.ts";
import {
  makeTrusteeSet,
  peerIdOf,
  publicKeyOf,
  type Trustee,
  type TrusteeSet,
} from "./trustee-set.ts";

const trustee = (number: number, keyByte = number): Trustee => {
  const publicKey = new Uint8Array(32).fill(keyByte);
  return {
    nodeId: unwrap(parseNodeId(`t-${number}`)),
    peerId: peerIdOf(publicKey),
    publicKey,
    evmAddress: unwrap(parseEvmAddress(`0x${"00".repeat(20)}`)),
  };
};
const setOf = (count: number, threshold: number, epoch = 1): TrusteeSet =>
  unwrap(
    makeTrusteeSet({
      clusterId: unwrap(parseClusterId("test")),
      epoch: unwrap(parseEpoch(epoch)),
      threshold,
      trustees: Array.from({ length: count }, (_, i) => trustee(i + 1)),
    }),
  );
const names = (set: TrusteeSet): readonly string[] => set.trustees.map((t) => t.nodeId);

describe("adding a trustee [spec §16.1]", () => {
  it("makes the next epoch's set, with the threshold as it was", () => {
    const next = unwrap(addTrustee(setOf(4, 3, 7), trustee(5)));
    expect([next.epoch, next.threshold]).toEqual([8, 3]);
    expect(names(next)).toEqual(["t-1", "t-2", "t-3", "t-4", "t-5"]);
  });

  it("takes another threshold with it", () => {
    expect(unwrap(addTrustee(setOf(4, 3), trustee(5), 4)).threshold).toBe(4);
  });

  it("says all problems at once", () => {
    expect(addTrustee(setOf(4, 3), trustee(2, 3), 9)).toEqual({
      ok: false,
      error: [
        `t-2 is a trustee of epoch 1 already, with another key (${trustee(2).peerId}): remove it first, or take another name`,
        `peer id ${trustee(3).peerId} is that of trustee t-3 already`,
        "threshold 9 is more than the 5 trustees, so nothing could ever be decided; a threshold of 3 to 5 is more than half of 5, and 4 is recommended",
      ],
    });
  });

  it("refuses who is there already, and a set that grows too large", () => {
    expect(addTrustee(setOf(4, 3), trustee(2))).toEqual({
      ok: false,
      error: ["t-2 is a trustee of epoch 1 already, with this key"],
    });
    const full = setOf(LIMITS.trusteesMax, 67);
    expect(addTrustee(full, trustee(LIMITS.trusteesMax + 1)).ok).toBe(false);
  });

  it("refuses a peer id that is not that of the key", () => {
    const forged = { ...trustee(5), peerId: trustee(6).peerId };
    expect(addTrustee(setOf(4, 3), forged)).toEqual({
      ok: false,
      error: ["trustee t-5: peer id does not belong to its public key"],
    });
  });
});

describe("removing a trustee [spec §16.2]", () => {
  it("makes the next epoch's set without it", () => {
    const next = unwrap(removeTrustee(setOf(4, 3), trustee(2).nodeId));
    expect([next.epoch, next.threshold, names(next)]).toEqual([2, 3, ["t-1", "t-3", "t-4"]]);
  });

  it("refuses a threshold that no longer fits, and says which would", () => {
    expect(removeTrustee(setOf(5, 5), trustee(2).nodeId)).toEqual({
      ok: false,
      error: [
        "threshold 5 is more than the 4 trustees, so nothing could ever be decided; a threshold of 3 to 4 is more than half of 4, and 3 is recommended",
      ],
    });
    expect(unwrap(removeTrustee(setOf(5, 5), trustee(2).nodeId, 4)).threshold).toBe(4);
  });

  it("refuses a stranger and names who could be meant", () => {
    expect(removeTrustee(setOf(2, 2), trustee(9).nodeId, 0)).toMatchObject({
      ok: false,
      error: ["t-9 is not a trustee of epoch 1 (these are: t-1, t-2)", expect.stringMatching(/0/)],
    });
  });

  it("refuses to leave nobody", () => {
    expect(removeTrustee(setOf(1, 1), trustee(1).nodeId).ok).toBe(false);
  });
});

describe("changing the threshold", () => {
  it("keeps the trustees", () => {
    const next = unwrap(changeThreshold(setOf(4, 3), 4));
    expect([next.epoch, next.threshold, names(next)]).toEqual([2, 4, names(setOf(4, 3))]);
  });

  it("refuses the one in force and one that can't be reached", () => {
    expect(changeThreshold(setOf(4, 3), 3).ok).toBe(false);
    expect(changeThreshold(setOf(4, 3), 5).ok).toBe(false);
  });
});

describe("any change", () => {
  const sets = fc
    .integer({ min: 1, max: 12 })
    .chain((n) => fc.integer({ min: 1, max: n }).map((t) => setOf(n, t)));

  it("leaves the set it was made from as it was, and counts the epoch up by one", () => {
    fc.assert(
      fc.property(
        sets,
        fc.integer({ min: 1, max: 13 }),
        fc.integer({ min: -1, max: 15 }),
        (set, who, t) => {
          const before = names(set).join();
          const epochBefore = set.epoch;
          const changes = [
            addTrustee(set, trustee(who), t),
            removeTrustee(set, trustee(who).nodeId, t),
            changeThreshold(set, t),
          ];
          for (const change of changes) {
            if (!change.ok) {
              expect(change.error.length).toBeGreaterThan(0);
              continue;
            }
            const next = change.value;
            expect(next.epoch).toBe(set.epoch + 1);
            expect(next.threshold).toBe(t);
            expect(t >= 1 && t <= next.trustees.length).toBe(true);
            expect(next.byNodeId.size).toBe(next.trustees.length);
            expect(next.byPeerId.size).toBe(next.trustees.length);
          }
          expect([set.epoch, names(set).join()]).toEqual([epochBefore, before]);
        },
      ),
    );
  });

  it("is undone by its opposite", () => {
    fc.assert(
      fc.property(sets, (set) => {
        const added = unwrap(addTrustee(set, trustee(99)));
        const back = unwrap(removeTrustee(added, trustee(99).nodeId));
        expect([back.epoch, back.threshold]).toEqual([set.epoch + 2, set.threshold]);
        expect(back.trustees).toEqual(set.trustees);
      }),
    );
  });
});

describe("the key inside a peer id", () => {
  it("is the one that the peer id was made of", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
        expect(publicKeyOf(peerIdOf(key))).toEqual(key);
      }),
    );
  });

  it.each(["z", "1"])("is not read out of a text that only looks like a peer id (%s)", (digit) => {
    // The text's first characters leave room for other lengths than 32 in the bytes behind them.
    expect(publicKeyOf(unwrap(parsePeerId(`12D3KooW${digit.repeat(44)}`)))).toBeNull();
  });
});
