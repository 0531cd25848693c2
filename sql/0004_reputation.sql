-- What Byzantine defence adds to history: receipts of refused votes, ends of bans,
-- the evidence of each ban, and what a score is folded from. [spec §3.3, §7.3]

-- A node's signed word that it did not take a vote. Sequences begin anew with each
-- run of a node. The receipt itself is what was signed; the columns are for searching.
CREATE TABLE discard_receipts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node_id text NOT NULL,
  run_started_at_ms bigint NOT NULL,
  sequence bigint NOT NULL,
  issued_at timestamptz NOT NULL,
  reason text NOT NULL,
  count bigint NOT NULL,
  tx_id text,
  voter text,
  author text,
  receipt jsonb NOT NULL,
  revision bigint NOT NULL,
  UNIQUE (node_id, run_started_at_ms, sequence)
);

CREATE INDEX discard_receipts_author ON discard_receipts (author, id);
CREATE INDEX discard_receipts_tx_id ON discard_receipts (tx_id) WHERE tx_id IS NOT NULL;

-- banned_peers says who is out now; this says who was let in again, by whom and why.
CREATE TABLE ban_lifts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  peer_id text NOT NULL,
  node_id text,
  kind text NOT NULL CHECK (kind IN ('OPERATOR', 'UNPROVEN')),
  lifted_by text NOT NULL,
  reason text NOT NULL,
  lifted_at timestamptz NOT NULL,
  ban_reason text,
  revision bigint NOT NULL,
  UNIQUE (peer_id, revision)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON discard_receipts
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON discard_receipts EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ban_lifts
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ban_lifts EXECUTE FUNCTION refuse_change();

-- NULL: recorded before evidence was kept with the ban, and no violation is like it.
ALTER TABLE banned_peers ADD COLUMN evidence_json jsonb;
UPDATE banned_peers b SET evidence_json = (
  SELECT v.evidence_json FROM byzantine_violations v
  WHERE v.peer_id = b.peer_id AND v.violation_type = b.reason
  ORDER BY v.revision DESC LIMIT 1);

-- False: the projector verified the evidence and it does not hold, or could not be
-- verified at all. Such a row is the trace of a forger, and lowers nobody's score.
ALTER TABLE byzantine_violations ADD COLUMN borne_out boolean NOT NULL DEFAULT true;

-- The revision at which it was first seen decided: good conduct is counted then, once.
ALTER TABLE transaction_history ADD COLUMN decided_revision bigint;
UPDATE transaction_history SET decided_revision = revision
  WHERE status IN ('SUBMITTED', 'CONFIRMED');

-- The score is 1 - penalty, where the penalty decays from penalty_at on; it is 0 for
-- ever once proven, and while a row in banned_peers stands. reputation_score is the
-- score as it was at penalty_at, for SQL and for the spec; the program computes the
-- present one. The formula is the core's; nothing here repeats it.
ALTER TABLE node_reputation
  ADD COLUMN penalty double precision NOT NULL DEFAULT 0.0
    CHECK (penalty >= 0.0 AND penalty <= 1.0),
  ADD COLUMN penalty_at timestamptz NOT NULL DEFAULT 'epoch',
  ADD COLUMN proven boolean NOT NULL DEFAULT false;

-- Scores of the rule before this one begin to decay now.
UPDATE node_reputation r SET
  penalty = 1.0 - r.reputation_score,
  penalty_at = CASE WHEN r.reputation_score < 1.0 THEN now() ELSE 'epoch' END,
  proven = EXISTS (
    SELECT 1 FROM byzantine_violations v WHERE v.peer_id = r.peer_id AND v.grade = 'PROOF');
