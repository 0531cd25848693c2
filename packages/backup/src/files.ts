import { createHash, type Hash } from "node:crypto";
import { open } from "node:fs/promises";

/** Where a file of a backup is written. */
export interface FileSink {
  write(chunk: Uint8Array): Promise<unknown>;
  /** Resolves when it is on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Makes a new file that only its owner may read: a backup tells who voted what. */
export async function createFile(path: string): Promise<FileSink> {
  return await open(path, "wx", 0o600);
}

export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

export interface Written {
  readonly bytes: number;
  readonly sha256: string;
}

/** Writes a file to its end and onto the disk; a failure leaves it incomplete, which nothing then names. */
export async function writeFileFrom(
  open: (path: string) => Promise<FileSink>,
  path: string,
  content: AsyncIterable<Uint8Array>,
): Promise<Written> {
  const sink = await open(path);
  const hash: Hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of content) {
      hash.update(chunk);
      bytes += chunk.length;
      // A whole chunk or an error: FileHandle.write may write less.
      await writeWhole(sink, chunk);
    }
    await sink.sync();
  } finally {
    await sink.close();
  }
  return { bytes, sha256: hash.digest("hex") };
}

async function writeWhole(sink: FileSink, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) {
    const result = await sink.write(at === 0 ? chunk : chunk.subarray(at));
    const written = typeof result === "object" && result !== null && "bytesWritten" in result;
    const count = written ? Number(result.bytesWritten) : chunk.length - at;
    if (count <= 0) throw new Error("the disk takes no more");
    at += count;
  }
}

/** Makes a directory's entries durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
