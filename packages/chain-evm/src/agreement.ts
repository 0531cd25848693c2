import { isDeepStrictEqual } from "node:util";

import { type AbortOptions, type BlockRef, ChainError, type Clock } from "@quorate/ports";

import { blockByNumber } from "./chain-reads.ts";
import { type EndpointPool, type Reply, summarize, type Work } from "./endpoint-pool.ts";
import { gather } from "./gather.ts";

// One endpoint may lie, lag or stand on a branch of its own. What decides for good (a nonce is
// final, a record is absent) is therefore taken only from two that say the same.

type Answer<T> = Extract<Reply<T>, { readonly kind: "answer" }>;

// How long a third endpoint is waited for once two have named their final block, in ms: the pair
// may hold one that is stuck, and the third a later block; yet a dead one must not cost its timeout.
const FINAL_GRACE_MS = 200;

/**
 * Asks every endpoint at once and resolves with what two of them say alike, absence (null) included.
 * Those that said something else are set aside. With one endpoint it is that one's word.
 * @param what names the read in errors.
 * @throws ChainError RPC_DISAGREE when no two agree, or fewer than two answer; what `read` throws
 * when there is one endpoint; a ChainError of `work` that two endpoints have in common.
 */
export async function readAgreed<T>(
  pool: EndpointPool,
  what: string,
  work: Work<T>,
  { signal }: AbortOptions = {},
): Promise<T> {
  signal?.throwIfAborted();
  if (pool.labels.length === 1) return await pool.read(work, { signal });
  const asked = pool.askAll(work, { signal });
  return await new Promise<T>((resolve, reject) => {
    const replies: Reply<T>[] = [];
    for (const one of asked) {
      one.then((reply) => {
        replies.push(reply);
        const agreed = agreedAnswer(replies);
        if (agreed !== null) resolve(agreed.value);
        if (replies.length < asked.length) return;
        // The late ones are judged too, so that a slow liar is known for the next read.
        if (agreed === null) reject(disagreement(what, replies));
        else setOthersAside(pool, what, agreed, replies);
      }, reject);
    }
  });
}

function answersOf<T>(replies: readonly Reply<T>[]): readonly Answer<T>[] {
  return replies.filter((reply): reply is Answer<T> => reply.kind === "answer");
}

/** An answer that is there twice. Earlier ones are preferred, so that it stays the same as more come in. */
function agreedAnswer<T>(replies: readonly Reply<T>[]): Answer<T> | null {
  const answers = answersOf(replies);
  for (const [index, answer] of answers.entries())
    for (const before of answers.slice(0, index))
      if (isDeepStrictEqual(before.value, answer.value)) return before;
  return null;
}

function setOthersAside<T>(
  pool: EndpointPool,
  what: string,
  agreed: Answer<T>,
  replies: readonly Reply<T>[],
): void {
  for (const { from, value } of answersOf(replies))
    if (!isDeepStrictEqual(value, agreed.value))
      pool.outvoted(from, `of the ${what} it says otherwise than two others`);
}

function disagreement<T>(what: string, replies: readonly Reply<T>[]): ChainError {
  const failures = replies.filter((reply) => reply.kind === "failure");
  const told = new Map<string, ChainError>();
  for (const { error } of failures) {
    if (!(error instanceof ChainError)) continue;
    // A contract that two endpoints can't find is not there.
    if (told.has(error.code)) return error;
    told.set(error.code, error);
  }
  if (failures.length === replies.length) {
    const error = summarize(failures);
    if (error.code === "WRONG_CHAIN") return error;
  }
  const words = replies.map((reply) =>
    reply.kind === "answer"
      ? `${reply.label} has an answer of its own`
      : `${reply.label} failed: ${reply.error.message}`,
  );
  return new ChainError(
    "RPC_DISAGREE",
    `no two chain endpoints say the same of the ${what}: ${words.join("; ")}`,
    { retryable: true, cause: failures[0]?.error },
  );
}

/**
 * The highest final block that two endpoints hold for canonical: their own final blocks differ when
 * one lags, so of two the lower is taken, if the other has the same block at that height.
 * Null when two have no final block yet.
 * @param finalOf reads one endpoint's final block.
 * @throws ChainError RPC_DISAGREE as `readAgreed`.
 */
export async function readAgreedFinal(
  pool: EndpointPool,
  finalOf: Work<BlockRef | null>,
  dependencies: { readonly clock: Clock },
  { signal }: AbortOptions = {},
): Promise<BlockRef | null> {
  signal?.throwIfAborted();
  if (pool.labels.length === 1) return await pool.read(finalOf, { signal });
  const asked = pool.askAll(finalOf, { signal });
  const first = await gather(
    asked,
    { enough: (there) => answersOf(there).length >= 2, graceMs: FINAL_GRACE_MS },
    dependencies,
  );
  const early = await commonBlock(pool, first, { signal });
  if (early !== "none") return early;
  const all = first.length === asked.length ? first : await Promise.all(asked);
  const late = first.length === asked.length ? early : await commonBlock(pool, all, { signal });
  if (late !== "none") return late;
  throw disagreement("final block", all);
}

async function commonBlock(
  pool: EndpointPool,
  replies: readonly Reply<BlockRef | null>[],
  { signal }: AbortOptions,
): Promise<BlockRef | null | "none"> {
  const answers = answersOf(replies);
  const blocks = answers
    .flatMap(({ from, value }) => (value === null ? [] : [{ from, block: value }]))
    .toSorted((a, b) => Number(b.block.number - a.block.number));
  for (const [index, { from, block }] of blocks.entries()) {
    for (const higher of blocks.slice(0, index)) {
      const there =
        higher.block.number === block.number
          ? higher.block
          : await canonicalAt(pool, higher.from, block.number, { signal });
      if (there?.hash !== block.hash) continue;
      judge(pool, block, from, blocks);
      return block;
    }
  }
  return answers.length - blocks.length >= 2 ? null : "none";
}

async function canonicalAt(
  pool: EndpointPool,
  from: number,
  number: bigint,
  { signal }: AbortOptions,
): Promise<BlockRef | null> {
  const reply = await pool.ask(from, (call) => blockByNumber(call, number, { signal }), { signal });
  return reply.kind === "answer" ? reply.value : null;
}

/** Who has another block at the very height that two agree on is on a branch of its own. */
function judge(
  pool: EndpointPool,
  agreed: BlockRef,
  by: number,
  blocks: readonly { readonly from: number; readonly block: BlockRef }[],
): void {
  for (const { from, block } of blocks)
    if (from !== by && block.number === agreed.number && block.hash !== agreed.hash)
      pool.outvoted(from, `its block ${block.number} is another than two others have`);
}
