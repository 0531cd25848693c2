import { randomUUID } from "node:crypto";
import { link, rename, rm, writeFile } from "node:fs/promises";
import { parseEvidenceId, parseTxId, utf8 } from "@quorate/core";
import {
  type EvidenceDetail,
  type EvidenceSummary,
  type NodeClient,
} from "@quorate/localcluster/client";
import { nodeClientFrom } from "../clients.ts";
import { CliError, EXIT, usageError } from "../failure.ts";
import {} from "../options.ts";
import { fields, table } from "../render/table.ts";
import { jsonDocument, type Style, type Terminal } from "../terminal.ts";
import { judgeBytes, sentenceOf } from "./evidence-verify.ts";

interface NodeOptions {
  readonly node?: string;
  readonly json?: true;
}

export interface ListOptions extends NodeOptions {
  readonly tx?: string;
  readonly trustee?: string;
  readonly limit: number;
}

export type ShowOptions = NodeOptions;

export interface ExportOptions extends NodeOptions {
  readonly out?: string;
  readonly force?: true;
}

/** Entries asked for at a time. */
const PAGE = 500;

export async function listEvidenceAction(
  { tx, trustee, limit, node, json }: ListOptions,
  terminal: Terminal,
): Promise<number> {
  const txId = tx === undefined ? null : parseTxId(tx);
  if (txId?.ok === false) throw usageError(txId.error.message);
  const client = nodeClientFrom(node, process.env);
  const found: EvidenceSummary[] = [];
  let after: string | undefined;
  for (;;) {
    const page = await client.evidence({
      after,
      tx: txId?.value,
      node: trustee,
      limit: Math.min(PAGE, limit - found.length),
    });
    found.push(...page.evidence);
    after = page.next ?? undefined;
    if (after === undefined || found.length >= limit) break;
  }
  const more = after !== undefined || found.length > limit;
  const shown = found.slice(0, limit);
  if (json === true) terminal.data(jsonDocument({ evidence: shown, more }));
  else if (shown.length === 0) terminal.data(`no violation is recorded (${client.url})`);
  else terminal.data(renderList(shown, terminal.dataStyle));
  if (more) terminal.note(`there may be more than these ${shown.length}; see --limit`);
  return EXIT.ok;
}

function renderList(evidence: readonly EvidenceSummary[], style: Style): string {
  return table(
    ["DETECTED", "TRUSTEE", "TYPE", "GRADE", "ID"],
    evidence.map((e) => [
      e.detectedAt,
      e.nodeId ?? "-",
      e.type,
      e.grade === "PROOF" ? style.bad(e.grade) : style.warn(e.grade),
      e.id,
    ]),
    style.dim,
  );
}

export async function showEvidenceAction(
  id: string,
  { node, json }: ShowOptions,
  terminal: Terminal,
): Promise<number> {
  const client = clientFor(id, node);
  const detail = await client.evidenceOf(id);
  terminal.data(json === true ? jsonDocument(detail) : renderDetail(detail, terminal.dataStyle));
  return detail.problem === null ? EXIT.ok : EXIT.failed;
}

function renderDetail(detail: EvidenceDetail, style: Style): string {
  return fields([
    ["id", detail.id],
    ["trustee", `${style.bold(detail.nodeId ?? "-")} (${detail.peerId})`],
    ["violation", `${detail.type}, ${detail.grade}`],
    ["detected", detail.detectedAt],
    ["finding", detail.finding],
    ["rule", detail.rule],
    ["problem", detail.problem === null ? null : style.bad(detail.problem)],
    ...detail.trusteeSets.map(
      ({ epoch, threshold, trustees, fingerprint }) =>
        ["trustee set", `epoch ${epoch}, ${threshold} of ${trustees}, ${fingerprint}`] as const,
    ),
  ]);
}

export async function exportEvidenceAction(
  id: string,
  { node, out, force, json }: ExportOptions,
  terminal: Terminal,
): Promise<number> {
  const client = clientFor(id, node);
  const text = await client.evidenceFile(id);
  // What a node hands out is not believed: it is checked before anything of it is kept.
  const verdict = judgeBytes(out ?? "stdout", utf8(text), null);
  if (!verdict.ok)
    throw new CliError(`${client.url} exported a file that is not good: ${verdict.problem}`);
  if (verdict.id !== id) throw new CliError(`${client.url} exported ${verdict.id} instead`);
  if (out === undefined) {
    terminal.data(text.trimEnd());
    terminal.note(sentenceOf(verdict, { dataStyle: terminal.style }));
    return EXIT.ok;
  }
  await writeWhole(out, text, { replace: force === true });
  if (json === true) terminal.data(jsonDocument(verdict));
  else terminal.data(sentenceOf(verdict, terminal));
  return EXIT.ok;
}

function clientFor(id: string, node: string | undefined): NodeClient {
  const parsed = parseEvidenceId(id);
  if (!parsed.ok) throw usageError(parsed.error.message);
  return nodeClientFrom(node, process.env);
}

/** Puts the whole file in place or none of it, and over another one only when told to. */
async function writeWhole(
  file: string,
  text: string,
  { replace }: { readonly replace: boolean },
): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, text, { flag: "wx" });
    if (replace) await rename(temporary, file);
    else await link(temporary, file);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST")
      throw new CliError(`${file} exists; --force replaces it`, { cause: error });
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}
