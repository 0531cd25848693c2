import type { SeededRandom } from "@quorate/testkit";
import { CLUSTER, epochOf, OTHER_CLUSTER, outsider, type Person } from "./people.ts";
import {
  type RawFrame,
  type RawVote,
  readVote,
  signLeaves,
  writeFrame,
  writeVote,
} from "./reference.ts";

/** What a mutation may draw on. */
export interface Surroundings {
  readonly random: SeededRandom;
  readonly epoch: number;
  readonly nowMs: number;
  /** A transaction that somebody is voting on, or a new one. */
  readonly txId: () => string;
  /** A trustee that may sign anything. */
  readonly liar: Person;
}

const U64_MAX = 2n ** 64n - 1n;
/** The order of the Ed25519 group: adding it to a signature's second half gives another one that a lax verifier takes. */
const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

function pick<T>(random: SeededRandom, items: readonly [T, ...T[]]): T {
  return items[random.below(items.length)] ?? items[0];
}

type VoteEdit = (vote: RawVote, around: Surroundings) => RawVote;

const VOTE_EDITS: readonly [VoteEdit, ...VoteEdit[]] = [
  (vote, { random, epoch }) => ({
    ...vote,
    epoch: pick(random, [
      BigInt(epoch),
      BigInt(epoch + 1),
      BigInt(Math.max(1, epoch - 1)),
      0n,
      1n,
      2n ** 53n - 1n,
      2n ** 53n,
      2n ** 53n + 1n,
      U64_MAX,
    ]),
  }),
  (vote, { random, epoch, liar }) => ({
    ...vote,
    nodeId: pick(random, [
      ...epochOf(epoch).byName.keys(),
      nameIn(epoch, liar),
      "",
      "stranger",
      "a".repeat(64),
      "Node",
      "-h",
      "h\0",
    ] as unknown as [string, ...string[]]),
  }),
  (vote, { random }) => ({
    ...vote,
    value: pick(random, [0n, 1n, U64_MAX, U64_MAX - 1n, 2n ** 53n + 1n, vote.value + 1n]),
  }),
  (vote, { random, txId }) => ({
    ...vote,
    txId: pick(random, [
      txId(),
      "",
      "-",
      "a",
      "z".repeat(128),
      "z".repeat(129),
      "a/b",
      "é",
      "__proto__",
      "constructor",
      `${vote.txId}0`,
    ]),
  }),
  (vote, { random, nowMs }) => ({
    ...vote,
    issuedAtMs: pick(random, [
      BigInt(Math.floor(nowMs)),
      BigInt(Math.floor(nowMs) + 30_000),
      BigInt(Math.floor(nowMs) - 30_001),
      0n,
      8_640_000_000_000_000n,
      8_640_000_000_000_001n,
      2n ** 53n + 1n,
      U64_MAX,
    ]),
  }),
  (vote, { random }) => ({
    ...vote,
    clusterId: pick(random, [CLUSTER, OTHER_CLUSTER, "", `${CLUSTER}x`, "c"]),
  }),
];

function nameIn(epoch: number, person: Person): string {
  return epochOf(epoch).nameOf.get(person.peerId) ?? "nobody";
}

type LeavesEdit = (leaves: readonly Uint8Array[], around: Surroundings) => readonly Uint8Array[];

const editOne = (
  leaves: readonly Uint8Array[],
  random: SeededRandom,
  edit: (leaf: Uint8Array) => Uint8Array,
): readonly Uint8Array[] => {
  const at = random.below(leaves.length);
  return leaves.map((leaf, i) => (i === at ? edit(leaf) : leaf));
};

const LEAVES_EDITS: readonly [LeavesEdit, ...LeavesEdit[]] = [
  // A field of one vote, of all, or of several one after the other.
  (leaves, around) =>
    editOne(leaves, around.random, (leaf) =>
      editVote(leaf, around, pick(around.random, VOTE_EDITS)),
    ),
  (leaves, around) => {
    const edit = pick(around.random, VOTE_EDITS);
    return leaves.map((leaf) => editVote(leaf, around, edit));
  },
  // Into the liar's own mouth: what it signs then is its word.
  (leaves, around) => leaves.map((leaf) => editVote(leaf, around, retell)),
  (leaves, around) => {
    const told = leaves.map((leaf) => editVote(leaf, around, retell));
    return told.map((leaf) => editVote(leaf, around, pick(around.random, VOTE_EDITS)));
  },
  (leaves, { random }) => random.shuffled(leaves),
  (leaves) => [...leaves, ...leaves].slice(0, 300),
  (leaves) => (leaves.length > 1 ? leaves.slice(1) : []),
  (leaves, { random }) => editOne(leaves, random, () => new Uint8Array(0)),
  (leaves, { random }) =>
    editOne(leaves, random, (leaf) => Buffer.concat([leaf, random.bytes(1 + random.below(600))])),
  (leaves, { random }) =>
    editOne(leaves, random, (leaf) => {
      const vote = readVote(leaf);
      return vote === null ? leaf : writeVote(vote, Buffer.from("quorate/vote/v2"));
    }),
];

const retell: VoteEdit = (vote, { epoch, nowMs, liar }) => ({
  ...vote,
  clusterId: CLUSTER,
  epoch: BigInt(epoch),
  nodeId: nameIn(epoch, liar),
  issuedAtMs: BigInt(Math.floor(nowMs)),
});

function editVote(leaf: Uint8Array, around: Surroundings, edit: VoteEdit): Uint8Array {
  const vote = readVote(leaf);
  return vote === null ? leaf : writeVote(edit(vote, around));
}

type Signing = (leaves: readonly Uint8Array[], old: Uint8Array, around: Surroundings) => Uint8Array;

const SIGNINGS: readonly [Signing, ...Signing[]] = [
  (leaves, _old, { liar }) => signLeaves(leaves, liar),
  (leaves, _old, { liar }) => signLeaves(leaves, liar),
  (leaves, _old, { liar }) => signLeaves(leaves, liar),
  (_leaves, old) => old,
  (leaves) => signLeaves(leaves, outsider(0)),
  () => new Uint8Array(64),
  (leaves, _old, { liar }) => malleated(signLeaves(leaves, liar)),
];

/** The same signature with the group's order added to its scalar: no valid one, but some verifiers think so. */
function malleated(signature: Uint8Array): Uint8Array {
  let scalar = 0n;
  for (const byte of signature.slice(32).reverse()) scalar = scalar * 256n + BigInt(byte);
  scalar += GROUP_ORDER;
  const copy = Uint8Array.from(signature);
  for (let i = 32; i < 64; i++) {
    copy[i] = Number(scalar & 255n);
    scalar >>= 8n;
  }
  return copy;
}

/** Changes that know what a frame is made of; signed again, by whoever, or not. */
export function mutateFrame(frame: RawFrame, around: Surroundings): Uint8Array {
  const { random } = around;
  let { leaves } = frame;
  for (let left = 1 + random.below(3); left > 0 && leaves.length > 0; left--)
    leaves = pick(random, LEAVES_EDITS)(leaves, around);
  const sign = pick(random, SIGNINGS);
  // Nothing can be signed for no votes at all.
  const signature = leaves.length === 0 ? frame.signature : sign(leaves, frame.signature, around);
  const count =
    random.below(12) > 0 ? leaves.length : pick(random, [0, leaves.length + 1, 257, 65_535]);
  return Buffer.concat([writeFrame({ signature, leaves }, count), extensionBy(signature)]);
}

/** After one frame in four, what may travel beside the votes: no vote may depend on what it says. */
function extensionBy(signature: Uint8Array): Uint8Array {
  const [draw = 0, length = 0] = signature;
  if (draw % 4 > 0) return new Uint8Array();
  // One in two is a readable trace context of the first vote.
  const readable = length % 2 === 0;
  const said = signature.subarray(2, readable ? 26 : 3 + (length % 60));
  const bytes = readable ? Uint8Array.of(0, 0, ...said) : said;
  return Uint8Array.of(255, bytes.length, ...bytes);
}
