import type { Accuse, Roll } from "./law.ts";
import type { TallyLaw } from "./tally-law.ts";
import { isSignedBy, readFrame, readLeaf } from "./wire-reader.ts";

/** What one process of an honest trustee has taken: votes by peer and transaction. */
type Heard = Map<string, Set<bigint>>;

/**
 * I4: who signed two values for one transaction, and was heard to by one honest process that took both, or that took
 * one while the tally has the other, ends with a PROOF ban.
 */
export class ConflictLaw {
  readonly #roll: Roll;
  readonly #tally: TallyLaw;
  /** By process. */
  readonly #heard = new Map<string, Heard>();
  /** Peers, with where it was noticed. */
  readonly #owed = new Map<string, string>();

  readonly #forgers = new Map<string, string>();

  constructor(roll: Roll, tally: TallyLaw) {
    this.#roll = roll;
    this.#tally = tally;
  }

  /** A frame that an honest process accepted. */
  accepted(processName: string, data: Uint8Array): void {
    const frame = readFrame(data);
    if (frame === null) return;
    for (const leaf of frame.leaves) {
      const vote = readLeaf(leaf);
      const member = this.#roll.members.find((m) => m.nodeId === vote?.nodeId);
      if (vote === null || member === undefined) continue;
      // Of a frame of many it is believed that the product looked; of a single one it is checked.
      if (
        frame.leaves.length === 1 &&
        !isSignedBy(member.publicKey, {
          leaf,
          index: 0,
          size: 1,
          path: [],
          signature: frame.signature,
        })
      )
        continue;
      const heard = this.#heard.get(processName) ?? new Map<string, Set<bigint>>();
      this.#heard.set(processName, heard);
      const key = `${member.peerId} ${vote.txId}`;
      const values = heard.get(key) ?? new Set();
      heard.set(key, values.add(vote.value));
      const recorded = this.#tally.transactions.get(vote.txId)?.votes.get(vote.nodeId);
      if (recorded !== undefined) values.add(recorded);
      if (values.size > 1) this.#owed.set(member.peerId, `${vote.txId}, heard by ${processName}`);
    }
  }

  /**
   * A frame that an honest process rejected. If it is a trustee's, reads well and is signed by nobody it names, its author
   * owes a ban for that: whoever hears it has it on disk before anything else.
   */
  rejected(processName: string, author: string, data: Uint8Array): void {
    const frame = readFrame(data);
    const [leaf] = frame?.leaves ?? [];
    if (frame === null || leaf === undefined || frame.leaves.length !== 1) return;
    const vote = readLeaf(leaf);
    const named = this.#roll.members.find((m) => m.nodeId === vote?.nodeId);
    if (named === undefined || !this.#roll.members.some((m) => m.peerId === author)) return;
    const proof = { leaf, index: 0, size: 1, path: [], signature: frame.signature };
    if (isSignedBy(named.publicKey, proof)) return;
    this.#forgers.set(author, `${vote?.txId}, rejected by ${processName}`);
  }

  /** What a dead process alone had heard of dies with it, unless it had heard both: then it is on its disk. */
  ended(processName: string): void {
    this.#heard.delete(processName);
  }

  /** Recorded meanwhile: a live process that had heard another value knows both now. */
  recorded(txId: string, nodeId: string, value: bigint): void {
    const peerId = this.#roll.members.find((m) => m.nodeId === nodeId)?.peerId;
    if (peerId === undefined) return;
    for (const [processName, heard] of this.#heard)
      for (const other of heard.get(`${peerId} ${txId}`) ?? [])
        if (other !== value) this.#owed.set(peerId, `${txId}, heard by ${processName}`);
  }

  get open(): readonly string[] {
    return [
      ...this.#unpunished(this.#owed, "signed two values for"),
      ...this.#unpunished(this.#forgers, "published a bad signature in"),
    ];
  }

  #unpunished(owed: ReadonlyMap<string, string>, what: string): readonly string[] {
    return [...owed]
      .filter(([peerId]) => this.#tally.bans.get(peerId)?.grade !== "PROOF")
      .map(([peerId, where]) => {
        const name = this.#roll.members.find((m) => m.peerId === peerId)?.nodeId ?? peerId;
        return `${name} ${what} ${where}, and is not banned for it`;
      });
  }

  atEnd(accuse: Accuse): void {
    for (const text of this.open) accuse("I4 conflicts end in a proof", text);
  }
}
