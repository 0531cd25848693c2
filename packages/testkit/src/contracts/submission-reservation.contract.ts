import type { SubmissionStoreWorld } from "./submission-fixture.ts";

export function reservationLaws(world: () => SubmissionStoreWorld): void {
  void world;
}
