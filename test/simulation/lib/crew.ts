import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Answer, Task } from "./tasks.ts";

/** A seed takes a second at most, run twice or cut down some dozens; one that takes so long will never end. */
const PATIENCE_MS = 180_000;

export type Settled =
  | { readonly kind: "answer"; readonly answer: Answer }
  /** The worker broke, or did not come back: nothing is known of the seed. */
  | { readonly kind: "failure"; readonly task: Task; readonly problem: string };

/**
 * Has tasks carried out by as many threads as there are cores.
 * @param patienceMs how long a task may take; of a hunt over many seeds, each seed
 */
export async function runAll(
  tasks: readonly Task[],
  onSettled: (settled: Settled) => void,
  {
    threads = availableParallelism(),
    patienceMs = PATIENCE_MS,
  }: { readonly threads?: number; readonly patienceMs?: number } = {},
): Promise<void> {
  const waiting = [...tasks].reverse();
  const next = (): Task | undefined => waiting.pop();
  const seats = Math.max(1, Math.min(threads, tasks.length));
  await Promise.all(Array.from({ length: seats }, () => work(next, onSettled, patienceMs)));
}

async function work(
  next: () => Task | undefined,
  onSettled: (settled: Settled) => void,
  patienceMs: number,
): Promise<void> {
  let worker: Worker | null = null;
  for (let task = next(); task !== undefined; task = next()) {
    worker ??= new Worker(new URL("./worker.ts", import.meta.url));
    const settled = await ask(worker, task, patienceMs);
    if (settled.kind === "failure") {
      await worker.terminate();
      worker = null;
    }
    onSettled(settled);
  }
  await worker?.terminate();
}

function ask(worker: Worker, task: Task, patienceMs: number): Promise<Settled> {
  return new Promise((resolve) => {
    const end = (settled: Settled): void => {
      clearTimeout(timer);
      worker.off("message", onMessage);
      worker.off("error", onError);
      resolve(settled);
    };
    let seed: number | null = null;
    const fail = (problem: string): void =>
      end({
        kind: "failure",
        task,
        problem: seed === null ? problem : `seed ${seed}: ${problem}`,
      });
    const onMessage = (message: {
      readonly beat?: number;
      readonly answer?: Answer;
      readonly error?: string;
    }): void => {
      if (message.beat !== undefined) {
        seed = message.beat;
        timer.refresh();
      } else if (message.answer !== undefined) end({ kind: "answer", answer: message.answer });
      else fail(message.error ?? "no answer");
    };
    const onError = (error: unknown): void => fail(String(error));
    const timer = setTimeout(
      () => fail(`it did not end within ${patienceMs / 1_000} s`),
      patienceMs,
    );
    worker.on("message", onMessage);
    worker.on("error", onError);
    worker.postMessage(task);
  });
}
