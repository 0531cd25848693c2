import { expect, test } from "vitest";
import { nonceFloorOf } from "./nonce-floor.ts";

const at = (latest: bigint, pending: bigint = latest) => ({ latest, pending });

test.each([
  ["one endpoint is believed", [at(7n, 9n)], 9n],
  ["the highest count of any counts, pools included", [at(7n), at(7n, 9n), at(6n)], 9n],
  ["what one of two has mined that the other has not seen counts", [at(12n), at(7n)], 12n],
  ["one that lies by far pushes it no further than a pool goes", [at(2n ** 60n), at(7n)], 71n],
  ["nor does its pool", [at(7n, 2n ** 60n), at(7n)], 71n],
  ["one that has forgotten everything takes nothing back", [at(0n), at(7n), at(7n)], 7n],
])("%s", (_law, counts, floor) => {
  expect(nonceFloorOf(counts)).toBe(floor);
});
