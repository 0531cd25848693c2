import type { Pool } from "pg";

import { textOf } from "./row.ts";
import { withSession } from "./session.ts";

// Each yields the column `line`, in a fixed order, for the schema that search_path names.
const DOMAINS = `
  SELECT format('DOMAIN %s AS %s %s', t.typname, format_type(t.typbasetype, t.typtypmod),
    string_agg(pg_get_constraintdef(c.oid), ' ' ORDER BY c.conname)) AS line
  FROM pg_type t JOIN pg_constraint c ON c.contypid = t.oid
  WHERE t.typnamespace = current_schema()::regnamespace
  GROUP BY t.oid ORDER BY t.typname`;

const COLUMNS = `
  SELECT format('%s %s.%s %s%s%s',
    CASE c.relkind WHEN 'v' THEN 'VIEW COLUMN' ELSE 'COLUMN' END,
    c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
    CASE WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY'
      ELSE COALESCE(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') END) AS line
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
    AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY c.relname, a.attnum`;

// Without NOT NULL, which is a constraint of its own from PostgreSQL 18 on, and stands with the column.
const CONSTRAINTS = `
  SELECT format('CONSTRAINT %s.%s %s', c.relname, k.conname, pg_get_constraintdef(k.oid)) AS line
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
  WHERE k.connamespace = current_schema()::regnamespace AND k.contype <> 'n'
  ORDER BY c.relname, k.conname`;

const INDEXES = `
  SELECT indexdef AS line FROM pg_indexes
  WHERE schemaname = current_schema() ORDER BY tablename, indexname`;

const TRIGGERS = `
  SELECT pg_get_triggerdef(t.oid) AS line
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal
  ORDER BY c.relname, t.tgname`;

const FUNCTIONS = `
  SELECT pg_get_functiondef(p.oid) AS line FROM pg_proc p
  WHERE p.pronamespace = current_schema()::regnamespace ORDER BY p.proname`;

const VIEWS = `
  SELECT format('VIEW %s AS%s', viewname, E'\\n' || definition) AS line FROM pg_views
  WHERE schemaname = current_schema() ORDER BY viewname`;

const SECTIONS: readonly (readonly [title: string, text: string])[] = [
  ["domains", DOMAINS],
  ["columns", COLUMNS],
  ["constraints", CONSTRAINTS],
  ["indexes", INDEXES],
  ["triggers", TRIGGERS],
  ["functions", FUNCTIONS],
  ["views", VIEWS],
];

const HEADER = `-- What the migrations come to, as PostgreSQL's own catalog tells it. For reading and
-- for comparing: a test fails when the migrations make anything else. Not to be run.
`;

/**
 * Describes the schema of the pool in text, from the catalog; the same text for the
 * same schema, whatever its name. `schema` is that name, and is written as `quorate`.
 */
export async function schemaSnapshot(pool: Pool, schema: string): Promise<string> {
  return withSession(pool, {}, async (session) => {
    const parts = [HEADER];
    for (const [title, text] of SECTIONS) {
      const rows = await session.query(`describing ${title}`, text);
      parts.push(`-- ${title}`, ...rows.map((row) => textOf(row, "line").trimEnd()), "");
    }
    return parts.join("\n").replaceAll(schema, "quorate");
  });
}
