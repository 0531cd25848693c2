// One door to the suite, until testkit exports it by name.
export {
  castVotes,
  TallyFixture,
  type TallyWorld,
  tallyStoreContract,
  testClusterId,
  txIdOf,
  // @ts-expect-error TS2878: the suite is not exported by name yet.
} from "../../../testkit/src/contracts/tally-store.contract.ts";
