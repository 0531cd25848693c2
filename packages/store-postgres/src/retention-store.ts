import type { RetentionStore } from "@quorate/ports";
import type { Pool } from "pg";

import { archiveSubmissions, countSubmissions, retireVotes } from "./retention/archive.ts";
import { notePurged, readPurgeable } from "./retention/purgeable.ts";
import { withSession } from "./session.ts";

/**
 * What PostgreSQL knows of when things may go, and what of its own it lets go, in the schema that the pool was opened
 * with. Each call is one statement, and so all or nothing; what others hold locked is left for the next call.
 * @see spec §9
 */
export function createRetentionStore(pool: Pool): RetentionStore {
  return {
    purgeable: (query, options = {}) =>
      withSession(pool, options, (session) => readPurgeable(session, query)),
    notePurged: (txIds, level, options = {}) =>
      withSession(pool, options, (session) => notePurged(session, txIds, level)),
    archiveSubmissions: (query, options = {}) =>
      withSession(pool, options, (session) => archiveSubmissions(session, query)),
    retireVotes: (query, options = {}) =>
      withSession(pool, options, (session) => retireVotes(session, query)),
    submissionCounts: (options = {}) => withSession(pool, options, countSubmissions),
  };
}
