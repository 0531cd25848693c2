import { envelopeSigningBytes, peerIdBytesOf } from "@quorate/core";
import { prng, type SeededRandom } from "@quorate/testkit";
import { type FuzzCase, type RawProof, writeProof } from "./fuzz-case.ts";
import { mutateBytes } from "./mutate-bytes.ts";
import { mutateFrame, type Surroundings } from "./mutate-frame.ts";
import {
  BYZANTINE,
  byzantine,
  CLUSTER,
  epochOf,
  HONEST,
  honest,
  honestValue,
  OTHER_CLUSTER,
  OUTSIDERS,
  outsider,
  type Person,
  type Who,
} from "./people.ts";
import { type RawMessage, writeControl, writeMessage, writeRpc } from "./protobuf.ts";
import {
  type RawFrame,
  readFrame,
  rootOf,
  signLeaves,
  writeFrame,
  writeVote,
} from "./reference.ts";
import { TOPIC } from "./stage.ts";

/** What the next input may depend on. */
export interface Situation {
  readonly epoch: number;
  readonly nowMs: number;
  /** Byzantine trustees that are still heard. */
  readonly atLarge: readonly Person[];
}

interface Base {
  readonly frame: RawFrame;
  readonly by: Person;
  readonly bytes: Uint8Array;
}

/**
 * Transactions of one world: more than the view holds, few enough that trustees meet on them. Each epoch has
 * some of its own, for a transaction keeps the epoch that it opened under; long frames have theirs.
 */
const HOT = 10;
const TRANSACTIONS = 450;
const BULK = 256;
const CORPUS_MAX = 400;
const CORPUS_BYTES_MAX = 4_000_000;
const CORPUS_FRAME_BYTES_MAX = 16_384;

/** Makes inputs: valid frames, mutated ones, and mutations of what led to new code before. */
export class Source {
  readonly #random: SeededRandom;
  readonly #corpus: Uint8Array[] = [];
  #corpusBytes = 0;
  #world = 0;
  #sequence = 0n;

  constructor(seed: number) {
    this.#random = prng(seed);
  }

  get corpusSize(): number {
    return this.#corpus.length;
  }

  /** A new world has transactions of its own. */
  nextWorld(): void {
    this.#world++;
  }

  /** Keeps a frame to start from again. */
  keep(bytes: Uint8Array): void {
    if (bytes.length > CORPUS_FRAME_BYTES_MAX) return;
    this.#corpus.push(bytes);
    this.#corpusBytes += bytes.length;
    while (this.#corpus.length > CORPUS_MAX || this.#corpusBytes > CORPUS_BYTES_MAX) {
      const [gone] = this.#corpus.splice(this.#random.below(this.#corpus.length), 1);
      this.#corpusBytes -= gone?.length ?? 0;
    }
  }

  /** How long to wait after an input, in ms: now and then nothing, so that inputs meet in one commit. */
  pauseMs(): number {
    return [0, 5, 10, 10, 25][this.#random.below(5)] ?? 10;
  }

  next(now: Situation): FuzzCase {
    const draw = this.#random.below(100);
    if (draw < 22) return this.#rpcCase(now);
    if (draw < 30) return this.#proofCase(now);
    const { bytes, author } = this.#frame(now);
    return this.#case("frame", now, author, bytes);
  }

  #case(target: FuzzCase["target"], now: Situation, author: Who, bytes: Uint8Array): FuzzCase {
    const forwarder = this.#below(3) === 0 ? this.#outsider() : honest(1 + this.#below(HONEST - 1));
    const who = ({ kind, epoch, index }: Who): Who => ({ kind, epoch, index });
    const { epoch, nowMs: atMs } = now;
    return { target, author: who(author), forwarder: who(forwarder), epoch, atMs, bytes };
  }

  #below(limit: number): number {
    return this.#random.below(limit);
  }

  #outsider(): Person {
    return outsider(this.#below(OUTSIDERS));
  }

  #liar({ atLarge, epoch }: Situation): Person {
    const heard = atLarge[this.#below(Math.max(1, atLarge.length))];
    // Now and then one who is banned already, or of an earlier epoch.
    if (heard !== undefined && this.#below(20) > 0) return heard;
    return byzantine(1 + this.#below(epoch), this.#below(BYZANTINE));
  }

  /** Some frame and who publishes it. Honest trustees publish only their own, unchanged. */
  #frame(now: Situation): { readonly bytes: Uint8Array; readonly author: Person } {
    const base = this.#base(now);
    const isWhole = this.#below(100) < 35;
    const isOwn = base.by.kind === "honest" && base.by.index > 0 && this.#below(3) > 0;
    if (isWhole && isOwn) return { bytes: base.bytes, author: base.by };
    const author = this.#below(25) === 0 ? this.#outsider() : this.#liar(now);
    if (isWhole) return { bytes: base.bytes, author };
    return { bytes: this.#mutated(base, now, author), author };
  }

  #mutated({ bytes, frame }: Base, now: Situation, author: Person): Uint8Array {
    const draw = this.#below(10);
    const kept = this.#corpus[this.#below(Math.max(1, this.#corpus.length))] ?? bytes;
    if (draw < 3) return mutateBytes(bytes, this.#random, kept);
    if (draw < 5) return mutateBytes(kept, this.#random, bytes);
    const start = draw < 7 ? readFrame(kept) : frame;
    return mutateFrame(start ?? frame, this.#surroundings(now, author));
  }

  #surroundings({ epoch, nowMs }: Situation, author: Person): Surroundings {
    const liar = author.kind === "byzantine" ? author : byzantine(epoch, 0);
    return { random: this.#random, epoch, nowMs, liar, txId: () => this.#txId(epoch) };
  }

  #txId(epoch: number): string {
    const own = (epoch * HOT + this.#below(HOT)) % TRANSACTIONS;
    const n = this.#below(6) > 0 ? own : this.#below(TRANSACTIONS);
    const name = `tx-${this.#world}-${n}`;
    return n % 13 === 0 ? name.padEnd(128, "Z.:_-") : name;
  }

  /** A valid frame, by anybody in the set. */
  #base(now: Situation): Base {
    const draw = this.#below(10);
    const liar = now.atLarge[this.#below(Math.max(1, now.atLarge.length))];
    const by = draw < 6 || liar === undefined ? honest(this.#below(HONEST)) : liar;
    const size = this.#frameSize();
    const leaves: Uint8Array[] = [];
    const elsewhere = this.#below(40) === 0;
    const start = this.#below(BULK);
    const told = new Set<string>();
    for (let i = 0; i < size; i++) {
      // A long frame takes one name after the other; an honest trustee says nothing twice in one.
      const txId = size > 8 ? `bulk-${this.#world}-${(start + i) % BULK}` : this.#txId(now.epoch);
      if (by.kind === "honest" && told.has(txId)) continue;
      told.add(txId);
      leaves.push(this.#leaf(now, by, txId, elsewhere));
    }
    const frame = { signature: signLeaves(leaves, by), leaves };
    return { frame, by, bytes: writeFrame(frame) };
  }

  #frameSize(): number {
    const draw = this.#below(100);
    if (draw < 60) return 1;
    if (draw < 92) return 2 + this.#below(5);
    return draw < 99 ? 8 + this.#below(40) : 256;
  }

  #leaf(now: Situation, by: Person, txId: string, elsewhere: boolean): Uint8Array {
    const skewMs =
      this.#below(20) === 0 ? this.#below(80_001) - 40_000 : this.#below(2_000) - 1_000;
    const agrees = by.kind === "honest" || this.#below(3) > 0;
    const value = agrees ? honestValue(txId) : BigInt(this.#below(3));
    return writeVote({
      clusterId: elsewhere ? OTHER_CLUSTER : CLUSTER,
      epoch: BigInt(now.epoch),
      txId,
      value,
      nodeId: epochOf(now.epoch).nameOf.get(by.peerId) ?? "nobody",
      issuedAtMs: BigInt(Math.floor(now.nowMs) + skewMs),
    });
  }

  #rpcCase(now: Situation): FuzzCase {
    const messages: Uint8Array[] = [];
    for (let left = 1 + this.#below(3); left > 0; left--) {
      const { bytes, author } = this.#frame(now);
      messages.push(writeMessage(this.#message(author, bytes)));
    }
    const many = this.#below(30) === 0 ? 40 : this.#below(3);
    const subscriptions = Array.from({ length: many }, (_, i) => (i % 2 === 0 ? TOPIC : `t${i}`));
    const ids = Array.from({ length: this.#below(60) }, () => this.#random.bytes(32));
    const control = this.#below(4) === 0 ? { control: writeControl(TOPIC, ids) } : {};
    const rpc = writeRpc({ messages, subscriptions, ...control });
    const bytes = this.#below(3) === 0 ? mutateBytes(rpc, this.#random, rpc) : rpc;
    return this.#case("rpc", now, this.#outsider(), Uint8Array.from(bytes));
  }

  /** A sealed message, now and then with an envelope that no honest router writes. */
  #message(author: Person, data: Uint8Array): RawMessage {
    const sequenceNumber = Buffer.alloc(8);
    sequenceNumber.writeBigUInt64BE(++this.#sequence);
    const from = peerIdBytesOf(author.signer.publicKey);
    const unsigned = { from, data, sequenceNumber, topic: TOPIC };
    const signature = author.signer.sign(envelopeSigningBytes(unsigned));
    const sealed: RawMessage = { ...unsigned, signature, key: null };
    switch (this.#below(24)) {
      case 0:
        return { ...sealed, from: peerIdBytesOf(honest(1).signer.publicKey) };
      case 1:
        return { ...sealed, from: Uint8Array.of(0, 0xa4, 0, ...from.subarray(2)) };
      case 2:
        return { ...sealed, sequenceNumber: this.#random.bytes(this.#below(12)) };
      case 3:
        return { ...sealed, topic: "another" };
      case 4:
        return { ...sealed, signature: null };
      case 5:
        return { ...sealed, data: null };
      case 6:
        return { ...sealed, key: author.signer.publicKey };
      case 7:
        return { ...sealed, from: null };
      case 8:
        return { ...sealed, data: new Uint8Array(65_537) };
      case 9:
        return { ...sealed, from: Uint8Array.of(...from, this.#below(256)) };
      default:
        return sealed;
    }
  }

  #proofCase(now: Situation): FuzzCase {
    const { frame, by } = this.#base(now);
    const index = this.#below(frame.leaves.length);
    const whole = proofOf(frame, index);
    const odd = [-1, 0.5, Number.NaN, 2 ** 31, 1e300, 0, 1, whole.size, 256, 257];
    const oddOne = odd[this.#below(odd.length)] ?? 0;
    const edits: readonly RawProof[] = [
      whole,
      { ...whole, index: oddOne },
      { ...whole, size: oddOne },
      { ...whole, index: whole.size - 1 - whole.index },
      { ...whole, path: whole.path.slice(1) },
      { ...whole, path: [...whole.path, this.#random.bytes(32)] },
      { ...whole, path: whole.path.toReversed() },
      {
        ...whole,
        path: whole.path.map((p, i) => (i === 0 ? this.#random.bytes(this.#below(40)) : p)),
      },
      { ...whole, signature: this.#random.bytes(this.#below(70)) },
      { ...whole, leaf: frame.leaves[this.#below(frame.leaves.length)] ?? whole.leaf },
    ];
    const bytes = writeProof(edits[this.#below(edits.length)] ?? whole);
    const mutated = this.#below(3) === 0 ? mutateBytes(bytes, this.#random, bytes) : bytes;
    return this.#case("proof", now, by, Uint8Array.from(mutated));
  }
}

/** One vote's proof, its path found the slow way. */
function proofOf({ leaves, signature }: RawFrame, index: number): RawProof {
  const path: Uint8Array[] = [];
  let part = leaves;
  let at = index;
  while (part.length > 1) {
    const left = 2 ** (Math.ceil(Math.log2(part.length)) - 1);
    const goesLeft = at < left;
    path.unshift(rootOf(goesLeft ? part.slice(left) : part.slice(0, left)));
    part = goesLeft ? part.slice(0, left) : part.slice(left);
    if (!goesLeft) at -= left;
  }
  const leaf = leaves[index] ?? new Uint8Array();
  return { index, size: leaves.length, path, signature, leaf };
}
