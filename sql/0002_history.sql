-- What happened, folded out of etcd by the projector: votes, violations, bans,
-- transactions, and the reputation that follows from them. The position stands in
-- the same database transaction as the rows. [spec §3.3, §7.3]

CREATE TABLE projector_position (
  -- One row for ever: the primary key is a constant.
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  -- The last etcd revision recorded; NULL before the first batch.
  revision bigint CHECK (revision >= 0),
  updated_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO projector_position (revision) VALUES (NULL);

-- A vote key is written once in etcd, so a row here is never changed.
CREATE TABLE vote_history (
  tx_id text NOT NULL,
  node_id text NOT NULL,
  peer_id text NOT NULL,
  epoch bigint NOT NULL,
  value u64 NOT NULL,
  signature bytea NOT NULL,
  proof jsonb NOT NULL,
  issued_at timestamptz NOT NULL,
  revision bigint NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tx_id, node_id)
);

CREATE INDEX vote_history_received_at ON vote_history (received_at);
CREATE INDEX vote_history_peer_id ON vote_history (peer_id);

CREATE TABLE byzantine_violations (
  id bigserial PRIMARY KEY,
  peer_id text NOT NULL,
  node_id text,
  tx_id text NOT NULL,
  violation_type text NOT NULL CHECK (violation_type IN (
    'DOUBLE_VOTING', 'MINORITY_VOTE', 'INVALID_SIGNATURE', 'SILENT_FAILURE')),
  grade text NOT NULL CHECK (grade IN ('PROOF', 'OPINION')),
  evidence_json jsonb NOT NULL,
  detected_at timestamptz NOT NULL DEFAULT now(),
  revision bigint NOT NULL,
  UNIQUE (tx_id, peer_id, violation_type)
);

CREATE INDEX byzantine_violations_peer_id ON byzantine_violations (peer_id);
CREATE INDEX byzantine_violations_detected_at ON byzantine_violations (detected_at);

CREATE TABLE banned_peers (
  peer_id text PRIMARY KEY,
  node_id text,
  reason text NOT NULL,
  grade text NOT NULL CHECK (grade IN ('PROOF', 'OPINION')),
  banned_at timestamptz NOT NULL,
  revision bigint NOT NULL
);

CREATE TABLE transaction_history (
  tx_id text PRIMARY KEY,
  status text NOT NULL,
  reason text,
  value u64,
  epoch bigint NOT NULL,
  opened_at timestamptz NOT NULL,
  record jsonb NOT NULL,
  revision bigint NOT NULL
);

CREATE INDEX transaction_history_status ON transaction_history (status);

-- The score begins at 1 and only falls: a PROOF violation or a ban sets it to 0, a
-- minority vote halves it, a silence takes 0.1 from it, down to 0. It is a fold of
-- the rows above, moved only by rows that were not there before.
CREATE TABLE node_reputation (
  peer_id text PRIMARY KEY,
  node_id text,
  reputation_score double precision NOT NULL DEFAULT 1.0
    CHECK (reputation_score >= 0.0 AND reputation_score <= 1.0),
  total_votes bigint NOT NULL DEFAULT 0,
  violations_count integer NOT NULL DEFAULT 0,
  -- When its newest vote was issued; for a peer that never voted, when it was first noticed.
  last_seen timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX node_reputation_score ON node_reputation (reputation_score);

CREATE FUNCTION guard_projector_position() RETURNS trigger
  LANGUAGE plpgsql
  AS $$
  BEGIN
    IF TG_OP = 'DELETE' THEN
      RAISE EXCEPTION 'the projector position is never deleted' USING ERRCODE = 'QU002';
    END IF;
    IF NEW.revision IS NULL AND OLD.revision IS NOT NULL OR NEW.revision < OLD.revision THEN
      RAISE EXCEPTION 'the projector position never goes back' USING ERRCODE = 'QU001';
    END IF;
    RETURN NEW;
  END
  $$;

CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON projector_position
  FOR EACH ROW EXECUTE FUNCTION guard_projector_position();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON projector_position EXECUTE FUNCTION refuse_change();

-- Evidence is never rewritten and never removed.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON byzantine_violations
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON byzantine_violations EXECUTE FUNCTION refuse_change();

-- A recorded vote is never rewritten. Retention may remove old ones.
CREATE TRIGGER write_once BEFORE UPDATE ON vote_history
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
