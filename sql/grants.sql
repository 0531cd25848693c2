-- Optional: separate database roles, for whoever runs psql as the owner of the
-- schema. Nothing depends on it; what is append-only is kept so by triggers, also
-- from the owner. Run it after each migration:
--
--   psql "$URL" -v schema=quorate_main -v submitter=quorate_submitter \
--     -v projector=quorate_projector -v reader=quorate_reader -f grants.sql
--
-- The three roles must exist. Not a migration: its name has no number.

GRANT USAGE ON SCHEMA :"schema" TO :"submitter", :"projector", :"reader";
GRANT SELECT ON ALL TABLES IN SCHEMA :"schema" TO :"submitter", :"projector", :"reader";

SET search_path TO :"schema";

GRANT INSERT, UPDATE ON sender, submission, slot, attempt TO :"submitter";
GRANT INSERT ON tombstone, slot_history, submission_former_slot TO :"submitter";
GRANT INSERT ON chain_record, operator_log, submission_archive TO :"submitter";
-- Retention: the triggers let only what is final go.
GRANT DELETE ON submission, slot, attempt TO :"submitter";

GRANT UPDATE ON projector_position TO :"projector";
GRANT INSERT ON vote_history, byzantine_violations, ban_lifts, discard_receipts TO :"projector";
GRANT INSERT ON history_restart, history_contradiction TO :"projector";
GRANT INSERT, UPDATE ON banned_peers, transaction_history, node_reputation TO :"projector";
-- A lifted ban leaves the list of who is out; ban_lifts keeps that it was.
GRANT DELETE ON banned_peers TO :"projector";
GRANT USAGE ON SEQUENCE byzantine_violations_id_seq TO :"projector";

-- The collector: old submissions leave through the archive, old votes for good or into theirs.
GRANT DELETE ON vote_history TO :"submitter";
GRANT INSERT ON vote_history_archive TO :"submitter";
GRANT UPDATE (votes_purged_at, purged_at) ON transaction_history TO :"submitter";

-- Backups are made with the submitter's configuration: its role says that there is one.
GRANT INSERT ON backup_made TO :"submitter";
