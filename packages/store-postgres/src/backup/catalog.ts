import { numberOf, textOf } from "../row.ts";
import type { Queries } from "../session.ts";

/** A table as it is copied: its columns in order, without those that PostgreSQL makes itself. */
export interface TableShape {
  readonly name: string;
  readonly columns: readonly string[];
}

/** A sequence behind a column, and the last number that it gave; null when it gave none. */
export interface SequenceState {
  readonly table: string;
  readonly column: string;
  readonly last: string | null;
}

/** The runner's own table: migrations are applied again, not copied. */
export const MIGRATION_TABLE = "schema_migration";

// Partitions are copied with the table that they are parts of.
const TABLES = `
  SELECT c.relname AS name,
    array_to_string(array_agg(a.attname ORDER BY a.attnum), ',') AS columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
  WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND c.relname <> $2
  GROUP BY c.relname ORDER BY c.relname`;

const REFERENCES = `
  SELECT DISTINCT t.relname AS name, f.relname AS target
  FROM pg_constraint k
  JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
  WHERE k.contype = 'f' AND k.connamespace = $1::regnamespace AND t.oid <> f.oid`;

const SEQUENCES = `
  SELECT t.relname AS name, a.attname AS column, s.last_value::text AS last
  FROM pg_depend d
  JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S'
  JOIN pg_class t ON t.oid = d.refobjid
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
  JOIN pg_namespace n ON n.oid = q.relnamespace
  JOIN pg_sequences s ON s.schemaname = n.nspname AND s.sequencename = q.relname
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i') AND t.relnamespace = $1::regnamespace
  ORDER BY t.relname, a.attname`;

const MIGRATIONS = `SELECT name FROM ${MIGRATION_TABLE} ORDER BY id`;

/** All tables but the runner's, each after those that it refers to. */
export async function readTables(queries: Queries, schema: string): Promise<readonly TableShape[]> {
  const rows = await queries.query("listing tables", TABLES, [schema, MIGRATION_TABLE]);
  const references = await queries.query("listing references", REFERENCES, [schema]);
  const waiting = new Map(
    rows.map((row) => [
      textOf(row, "name"),
      { name: textOf(row, "name"), columns: textOf(row, "columns").split(",") },
    ]),
  );
  const ordered: TableShape[] = [];
  while (waiting.size > 0) {
    const free = [...waiting.values()].filter(({ name }) =>
      references.every((row) => row["name"] !== name || !waiting.has(textOf(row, "target"))),
    );
    // A circle of references: nothing of ours has one, and a load would say so.
    const next = free.length > 0 ? free : [...waiting.values()];
    ordered.push(...next);
    for (const { name } of next) waiting.delete(name);
  }
  return ordered;
}

export async function readSequences(
  queries: Queries,
  schema: string,
): Promise<readonly SequenceState[]> {
  const rows = await queries.query("reading sequences", SEQUENCES, [schema]);
  return rows.map((row) => ({
    table: textOf(row, "name"),
    column: textOf(row, "column"),
    last: row["last"] === null ? null : textOf(row, "last"),
  }));
}

export async function readMigrations(queries: Queries): Promise<readonly string[]> {
  const rows = await queries.query("reading the migrations", MIGRATIONS);
  return rows.map((row) => textOf(row, "name"));
}

/** How many relations a schema has; null when there is no such schema. */
export async function countRelations(queries: Queries, schema: string): Promise<number | null> {
  const [row = {}] = await queries.query(
    "looking at the schema",
    `SELECT n.oid::bigint::text AS found, (
       SELECT count(*)::int FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm')
     ) AS relations
     FROM pg_namespace n WHERE n.nspname = $1`,
    [schema],
  );
  return row["found"] === undefined ? null : numberOf(row, "relations");
}

/** For names that take no parameter: the catalog's own, quoted. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
