import type { SubmissionState, TxId, Value } from "@quorate/core";
import type {
  AbortOptions,
  Hex,
  ImportReport,
  RecordedEvent,
  Sender,
  SenderLease,
  SubmissionStore,
} from "@quorate/ports";
import type { Pool } from "pg";

import { bytesOfHex, hexOf, type Row, txIdOf, valueOf } from "../row.ts";
import type { Queries } from "../session.ts";
import { accountOf, underLease } from "./lease.ts";
import { refused } from "./refused.ts";
import { submissionStateOf } from "./submission-row.ts";

// An import that looks for a submission and an enqueue that looks for a record would each
// miss what the other has not committed yet: so while one imports, none enqueues. Taken in a
// statement of its own, for a statement sees what was committed before it began.
const LOCK_NAME = `hashtextextended(current_schema() || '.chain_record', 0)`;
const LOCK_AGAINST_IMPORT = `SELECT pg_advisory_xact_lock_shared(${LOCK_NAME})`;
const LOCK_FOR_IMPORT = `SELECT pg_advisory_xact_lock(${LOCK_NAME})`;

const READ_RECORDS = `
  SELECT key, value FROM chain_record WHERE chain_id = $1 AND key = ANY ($2::bytea[])`;

// In the order of ids, as every statement that locks several of them.
const LOCK_SUBMISSIONS = `
  SELECT tx_id, key, value, state FROM submission
  WHERE chain_id = $1 AND key = ANY ($2::bytea[])
  ORDER BY tx_id FOR UPDATE`;

const READ_ARCHIVED = `
  SELECT tx_id, key, value, state FROM submission_archive
  WHERE chain_id = $1 AND key = ANY ($2::bytea[])`;

const INSERT_RECORDS = `
  INSERT INTO chain_record (chain_id, key, value, block_number, tx_hash)
  SELECT $1, key, value, block_number, tx_hash
  FROM unnest($2::bytea[], $3::numeric[], $4::numeric[], $5::bytea[])
    AS new (key, value, block_number, tx_hash)`;

const SETTLE = `
  UPDATE submission s
  SET state = 'FINALIZED', finalized_at = now(),
    finalized_block = record.block_number, finalized_tx = record.tx_hash
  FROM chain_record record
  WHERE s.tx_id = ANY ($1::text[]) AND record.chain_id = s.chain_id AND record.key = s.key`;

const CONTRADICT = `
  UPDATE submission s
  SET state = 'QUARANTINED',
    reason = 'the contract holds value ' || record.value || ' for it, since block ' || record.block_number
  FROM chain_record record
  WHERE s.tx_id = ANY ($1::text[]) AND s.state IN ('QUEUED', 'ASSIGNED', 'INCLUDED')
    AND record.chain_id = s.chain_id AND record.key = s.key`;

const IMPORTED_THROUGH = `
  UPDATE sender
  SET imported_through_block = GREATEST(COALESCE(imported_through_block, $3), $3::numeric),
    history_differs = history_differs OR $4
  WHERE chain_id = $1 AND address = $2`;

/** Keeps imports out until the transaction ends. Others that enqueue go on. */
export async function lockAgainstImport(tx: Queries): Promise<void> {
  await tx.query("keeping imports out", LOCK_AGAINST_IMPORT);
}

/** QUEUED to FINALIZED, for submissions whose record is stored with their own value. */
export async function settleByRecord(tx: Queries, txIds: readonly TxId[]): Promise<void> {
  if (txIds.length > 0) await tx.query("settling by the chain's record", SETTLE, [txIds]);
}

/** To QUARANTINED, for submissions whose record is stored with another value. What is final stays. */
export async function contradictByRecord(tx: Queries, txIds: readonly TxId[]): Promise<void> {
  if (txIds.length > 0) await tx.query("quarantining by the chain's record", CONTRADICT, [txIds]);
}

export async function importRecords(
  pool: Pool,
  lease: SenderLease,
  records: readonly RecordedEvent[],
  throughBlock: bigint,
  options: AbortOptions,
): ReturnType<SubmissionStore["importRecords"]> {
  const outcome = await underLease(pool, lease, options, async (tx) => {
    const report = records.length > 0 ? await importIn(tx, lease, records) : NOTHING;
    const parameters = [...accountOf(lease), throughBlock, differs(report)];
    await tx.query("noting the import", IMPORTED_THROUGH, parameters);
    return report;
  });
  return outcome === "fenced" ? { kind: "fenced" } : { kind: "done", ...outcome };
}

const NOTHING: ImportReport = {
  known: 0,
  inFlight: 0,
  settled: [],
  contradicted: [],
  unknownKeys: [],
};

function differs({ settled, contradicted, unknownKeys }: ImportReport): boolean {
  return settled.length + contradicted.length + unknownKeys.length > 0;
}

interface KnownSubmission {
  readonly txId: TxId;
  readonly value: Value;
  readonly state: SubmissionState;
}

async function importIn(
  tx: Queries,
  sender: Sender,
  records: readonly RecordedEvent[],
): Promise<ImportReport> {
  await tx.query("keeping new submissions out", LOCK_FOR_IMPORT);
  const keys = [sender.chainId, records.map(({ key }) => bytesOfHex(key))];
  const before = await tx.query("reading chain records", READ_RECORDS, keys);
  const imported = new Map(before.map((row) => [hexOf(row, "key"), valueOf(row, "value")]));
  const submissions = new Map<Hex, KnownSubmission>();
  for (const row of [
    ...(await tx.query("reading the archive", READ_ARCHIVED, keys)),
    ...(await tx.query("locking submissions", LOCK_SUBMISSIONS, keys)),
  ]) {
    submissions.set(hexOf(row, "key"), knownSubmissionOf(row));
  }

  let known = 0;
  let inFlight = 0;
  const settled: TxId[] = [];
  const contradicted: TxId[] = [];
  const unknownKeys: Hex[] = [];
  const fresh: RecordedEvent[] = [];
  for (const record of records) {
    const found = submissions.get(record.key);
    if (isImported(record, imported)) known += 1;
    else if (found !== undefined && isExplained(record, found)) {
      if (found.state === "ASSIGNED" || found.state === "INCLUDED") inFlight += 1;
      else known += 1;
    } else {
      fresh.push(record);
      imported.set(record.key, record.value);
      if (found === undefined) unknownKeys.push(record.key);
      else if (found.state === "QUEUED" && found.value === record.value) settled.push(found.txId);
      else contradicted.push(found.txId);
    }
  }
  await insertRecords(tx, sender, fresh);
  await settleByRecord(tx, settled);
  await contradictByRecord(tx, contradicted);
  return { known, inFlight, settled, contradicted, unknownKeys };
}

function knownSubmissionOf(row: Row): KnownSubmission {
  return {
    txId: txIdOf(row, "tx_id"),
    value: valueOf(row, "value"),
    state: submissionStateOf(row, "state"),
  };
}

/** The contract holds a key once and for ever: with another value later, it is not the contract that was imported before. */
function isImported({ key, value }: RecordedEvent, imported: ReadonlyMap<Hex, Value>): boolean {
  const before = imported.get(key);
  if (before === undefined) return false;
  if (before === value) return true;
  throw refused(`key ${key} held value ${before} when it was imported before`);
}

/** Whether the submission, as it stands, already says so: of one that is QUARANTINED a person finds out. */
function isExplained({ value }: RecordedEvent, submission: KnownSubmission): boolean {
  return (
    submission.value === value && submission.state !== "QUEUED" && submission.state !== "ABORTED"
  );
}

async function insertRecords(
  tx: Queries,
  sender: Sender,
  records: readonly RecordedEvent[],
): Promise<void> {
  if (records.length === 0) return;
  await tx.query("remembering chain records", INSERT_RECORDS, [
    sender.chainId,
    records.map(({ key }) => bytesOfHex(key)),
    records.map(({ value }) => value),
    records.map(({ blockNumber }) => blockNumber),
    records.map(({ txHash }) => bytesOfHex(txHash)),
  ]);
}
