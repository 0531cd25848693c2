-- What retention needs to know: since when a transaction is settled, and what of it
-- the tally no longer holds. Violations, bans and their ends, receipts, transactions,
-- tombstones, slots and attempts stay for ever. [spec §9]

ALTER TABLE transaction_history
  -- When history first saw it CONFIRMED or ABORTED_BYZANTINE, by this server's clock:
  -- never before it was so, and nobody else's clock can make it older.
  ADD COLUMN settled_at timestamptz,
  -- When the tally was found to hold no votes of it, and nothing but its decision.
  ADD COLUMN votes_purged_at timestamptz,
  ADD COLUMN purged_at timestamptz,
  ADD CONSTRAINT transaction_history_purged CHECK (
    (votes_purged_at IS NULL OR settled_at IS NOT NULL)
    AND (purged_at IS NULL OR votes_purged_at IS NOT NULL));

-- Since when is not known: the periods begin now.
UPDATE transaction_history SET settled_at = now()
  WHERE status IN ('CONFIRMED', 'ABORTED_BYZANTINE');

CREATE INDEX transaction_history_votes_due ON transaction_history (settled_at, tx_id)
  WHERE votes_purged_at IS NULL AND settled_at IS NOT NULL;
CREATE INDEX transaction_history_records_due ON transaction_history (settled_at, tx_id)
  WHERE purged_at IS NULL AND settled_at IS NOT NULL;

CREATE FUNCTION note_settled() RETURNS trigger
  LANGUAGE plpgsql
  AS $$
  BEGIN
    NEW.settled_at := now();
    RETURN NEW;
  END
  $$;

CREATE TRIGGER settled BEFORE INSERT OR UPDATE ON transaction_history
  FOR EACH ROW
  WHEN (NEW.settled_at IS NULL AND NEW.status IN ('CONFIRMED', 'ABORTED_BYZANTINE'))
  EXECUTE FUNCTION note_settled();

CREATE INDEX submission_confirmed ON submission (confirmed_at, tx_id)
  WHERE confirmed_at IS NOT NULL;

-- Where old votes go when they are not just deleted. The operator's to dump and empty:
-- nothing reads it, and a vote may be in it twice.
CREATE TABLE vote_history_archive (
  LIKE vote_history,
  archived_at timestamptz NOT NULL DEFAULT now()
);

CREATE TRIGGER write_once BEFORE UPDATE ON vote_history_archive
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
