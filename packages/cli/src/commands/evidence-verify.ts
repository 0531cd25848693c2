import { type FileHandle, open } from "node:fs/promises";
import {
  type EvidenceVerdict,
  LIMITS,
  trusteeSetFingerprint,
  verifyEvidenceFile,
} from "@quorate/core";
import { createEd25519 } from "@quorate/crypto-sodium";
import { readClusterFile } from "@quorate/localcluster/cluster-file";
import { EXIT } from "../failure.ts";
import { jsonDocument, type Terminal } from "../terminal.ts";

export interface VerifyOptions {
  readonly setFingerprint: readonly string[];
  readonly cluster?: string;
  readonly json?: true;
}

export type FileVerdict =
  | ({ readonly file: string; readonly ok: true; readonly pinned: boolean } & EvidenceVerdict)
  | { readonly file: string; readonly ok: false; readonly problem: string };

/** Checks each file, and says of each in one sentence what it proves. */
export async function verifyFilesAction(
  files: readonly string[],
  options: VerifyOptions,
  terminal: Terminal,
): Promise<number> {
  const pins = await pinsOf(options);
  const verdicts: FileVerdict[] = [];
  for (const file of files) verdicts.push(await judgeFile(file, pins));
  const ok = verdicts.every((verdict) => verdict.ok);
  if (options.json === true) terminal.data(jsonDocument({ ok, files: verdicts }));
  else for (const verdict of verdicts) terminal.data(sentenceOf(verdict, terminal));
  return ok ? EXIT.ok : EXIT.failed;
}

/** The trustee sets that the caller vouches for; null when it vouches for none. */
async function pinsOf(options: VerifyOptions): Promise<ReadonlySet<string> | null> {
  const pins = new Set(options.setFingerprint);
  if (options.cluster !== undefined)
    pins.add(trusteeSetFingerprint(await readClusterFile(options.cluster)));
  return pins.size === 0 ? null : pins;
}

async function judgeFile(file: string, pins: ReadonlySet<string> | null): Promise<FileVerdict> {
  const bytes = await readBounded(file);
  if (typeof bytes === "string") return { file, ok: false, problem: bytes };
  return judgeBytes(file, bytes, pins);
}

/** @param pins fingerprints of the trustee sets that are trusted; null to take the file's own as they are */
export function judgeBytes(
  file: string,
  bytes: Uint8Array,
  pins: ReadonlySet<string> | null,
): FileVerdict {
  const ed25519 = createEd25519();
  const read = verifyEvidenceFile(bytes, (key, message, signature) =>
    ed25519.verify(key, message, signature),
  );
  if (!read.ok) return { file, ok: false, problem: read.error };
  const foreign = read.value.sets.find((set) => pins?.has(set.fingerprint) === false);
  if (foreign !== undefined) {
    const { epoch, fingerprint } = foreign;
    const problem = `its trustee set of epoch ${epoch} has the fingerprint ${fingerprint}, which is not one that you named`;
    return { file, ok: false, problem };
  }
  return { file, ok: true, pinned: pins !== null, ...read.value };
}

/** The file's bytes, or why there are none. Never more than a little beyond the limit: it may be anything. */
async function readBounded(file: string): Promise<Uint8Array | string> {
  let handle: FileHandle | null = null;
  try {
    handle = await open(file, "r");
    const buffer = new Uint8Array(LIMITS.evidenceFileBytesMax + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) return buffer.slice(0, length);
    }
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (missing) return "there is no such file";
    return `it can't be read: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    await handle?.close();
  }
}

/** One sentence on one file. */
export function sentenceOf(
  verdict: FileVerdict,
  { dataStyle }: Pick<Terminal, "dataStyle">,
): string {
  if (!verdict.ok) return `${verdict.file}: ${dataStyle.bad("NOT GOOD")}: ${verdict.problem}`;
  const { file, grade, finding, pinned, sets } = verdict;
  const proven = finding.replace(/\.$/, "");
  const list = new Intl.ListFormat("en");
  const epochs = list.format(sets.map((set) => `epoch ${set.epoch}`));
  const named = list.format(
    sets.map((set) => `that of epoch ${set.epoch} has the fingerprint ${set.fingerprint}`),
  );
  const holds = pinned
    ? `under the trustee set of ${epochs}, which you named`
    : `provided that the trustee set is real: ${named}`;
  return `${file}: ${dataStyle.good(`GOOD, ${grade}`)}: ${proven}; ${holds}.`;
}
