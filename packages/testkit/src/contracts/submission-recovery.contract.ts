import type { SubmissionStoreWorld } from "./submission-fixture.ts";

export function recoveryLaws(world: () => SubmissionStoreWorld): void {
  void world;
}
