-- The submitter's durable memory: who may send, what is to be sent, under which
-- nonce, and every byte string that was ever signed for it. [spec §7.3, §8.1]
--
-- Runs inside the cluster's own schema (search_path is set by the runner), so no
-- name here is qualified. Forward only: a change is a new file, never an edit.
--
-- SQLSTATEs raised by the guards below: QU001 a move the state machine does not
-- have, QU002 a change to something that is written once.

-- The spec's BIGINT cannot hold the upper half of a u64.
CREATE DOMAIN u64 AS numeric(20, 0)
  CONSTRAINT u64_range CHECK (VALUE >= 0 AND VALUE <= 18446744073709551615);

CREATE DOMAIN wei AS numeric(78, 0)
  CONSTRAINT wei_range CHECK (VALUE >= 0);

-- One row per account and chain. Its row lock is the one serialization point of
-- nonces, and its epoch the fencing number: made here, because an etcd revision
-- goes backwards when a snapshot is restored.
CREATE TABLE sender (
  chain_id u64 NOT NULL,
  address bytea NOT NULL CHECK (octet_length(address) = 20),
  epoch bigint NOT NULL CHECK (epoch >= 1),
  next_nonce u64 NOT NULL,
  frozen boolean NOT NULL DEFAULT false,
  PRIMARY KEY (chain_id, address)
);

-- One nonce of one sender. The spec's UNIQUE (nonce) forgets chain and sender.
-- payload is the batch as signed, [[tx_id, value], ...]: it stays true when a
-- submission has moved on to another nonce.
CREATE TABLE slot (
  chain_id u64 NOT NULL,
  sender bytea NOT NULL,
  nonce u64 NOT NULL,
  state text NOT NULL CHECK (state IN (
    'SIGNED', 'INCLUDED',
    'FINALIZED_OK', 'FINALIZED_REVERTED', 'FINALIZED_FOREIGN', 'FINALIZED_CANCEL')),
  payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'array'),
  gas_limit u64 NOT NULL,
  block_number u64,
  block_hash bytea CHECK (octet_length(block_hash) = 32),
  receipt_hash bytea CHECK (octet_length(receipt_hash) = 32),
  receipt_status text CHECK (receipt_status IN ('success', 'reverted')),
  -- The leader epoch that wrote the row last, and why: copied into slot_history.
  epoch bigint NOT NULL,
  reason text,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (chain_id, sender, nonce),
  FOREIGN KEY (chain_id, sender) REFERENCES sender (chain_id, address),
  CHECK (state <> 'SIGNED'
    OR (block_number IS NULL AND block_hash IS NULL AND receipt_hash IS NULL AND receipt_status IS NULL)),
  CHECK (state <> 'INCLUDED'
    OR (block_number IS NOT NULL AND block_hash IS NOT NULL
      AND receipt_hash IS NOT NULL AND receipt_status IS NOT NULL))
);

CREATE INDEX slot_live ON slot (chain_id, sender, nonce) WHERE state IN ('SIGNED', 'INCLUDED');

-- Every transaction ever signed for a nonce. Only bytes read back from here are sent.
CREATE TABLE attempt (
  hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
  seq bigint GENERATED ALWAYS AS IDENTITY,
  chain_id u64 NOT NULL,
  sender bytea NOT NULL,
  nonce u64 NOT NULL,
  kind text NOT NULL CHECK (kind IN ('ORIGINAL', 'BUMP', 'CANCEL', 'GAPFILL')),
  raw bytea NOT NULL CHECK (octet_length(raw) > 0),
  max_fee wei NOT NULL,
  tip wei NOT NULL,
  epoch bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- Advisory: losing these changes nothing.
  last_sent_at timestamptz,
  sent_count integer NOT NULL DEFAULT 0 CHECK (sent_count >= 0),
  last_outcome text,
  FOREIGN KEY (chain_id, sender, nonce) REFERENCES slot (chain_id, sender, nonce)
);

CREATE INDEX attempt_slot ON attempt (chain_id, sender, nonce, seq);

-- Every transaction id that was ever enqueued, for ever. Retention may remove a
-- submission; without this the same id could then be submitted again.
CREATE TABLE tombstone (
  tx_id text PRIMARY KEY,
  value u64 NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE submission (
  tx_id text PRIMARY KEY REFERENCES tombstone (tx_id),
  -- Order of arrival; a submission that is queued again keeps its place.
  seq bigint GENERATED ALWAYS AS IDENTITY,
  key bytea NOT NULL UNIQUE CHECK (octet_length(key) = 32),
  value u64 NOT NULL,
  trustee_epoch bigint NOT NULL,
  decision_revision bigint NOT NULL,
  state text NOT NULL DEFAULT 'QUEUED' CHECK (state IN (
    'QUEUED', 'ASSIGNED', 'INCLUDED', 'FINALIZED', 'ABORTED', 'QUARANTINED')),
  chain_id u64 NOT NULL,
  sender bytea,
  nonce u64,
  batch_index integer CHECK (batch_index >= 0),
  tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
  queued_at timestamptz NOT NULL DEFAULT now(),
  finalized_at timestamptz,
  finalized_block u64,
  finalized_tx bytea CHECK (octet_length(finalized_tx) = 32),
  confirmed_at timestamptz,
  quarantine_reason text,
  FOREIGN KEY (chain_id, sender, nonce) REFERENCES slot (chain_id, sender, nonce),
  CONSTRAINT submission_slot_whole CHECK (
    (sender IS NULL) = (nonce IS NULL) AND (batch_index IS NULL) = (nonce IS NULL)),
  CONSTRAINT submission_queued_has_no_slot CHECK (state <> 'QUEUED' OR nonce IS NULL),
  CONSTRAINT submission_assigned_has_slot CHECK (
    state NOT IN ('ASSIGNED', 'INCLUDED') OR nonce IS NOT NULL),
  CONSTRAINT submission_finalized_at CHECK ((state = 'FINALIZED') = (finalized_at IS NOT NULL)),
  CONSTRAINT submission_confirmed_at CHECK (confirmed_at IS NULL OR state = 'FINALIZED'),
  CONSTRAINT submission_quarantine_reason CHECK (
    (state = 'QUARANTINED') = (quarantine_reason IS NOT NULL))
);

CREATE INDEX submission_queued ON submission (chain_id, seq) WHERE state = 'QUEUED';
CREATE INDEX submission_unconfirmed ON submission (finalized_at, seq)
  WHERE state = 'FINALIZED' AND confirmed_at IS NULL;
CREATE INDEX submission_of_slot ON submission (chain_id, sender, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX submission_state ON submission (state);

-- Every transition of every slot, written by a trigger so that none is forgotten.
CREATE TABLE slot_history (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  chain_id u64 NOT NULL,
  sender bytea NOT NULL,
  nonce u64 NOT NULL,
  from_state text,
  to_state text NOT NULL,
  epoch bigint NOT NULL,
  block_number u64,
  block_hash bytea,
  reason text,
  at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX slot_history_slot ON slot_history (chain_id, sender, nonce, id);

-- Guards. They repeat what the program already keeps to, so that neither a bug
-- nor a hand-typed statement can bend it. The moves are those of the core's state
-- machine; a test compares every pair. "SET search_path FROM CURRENT" ties each
-- function to this schema, whatever path its caller has.

CREATE FUNCTION submission_may_move(from_state text, to_state text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$
    SELECT from_state = to_state OR (from_state, to_state) IN (
      ('QUEUED', 'ASSIGNED'), ('QUEUED', 'FINALIZED'), ('QUEUED', 'ABORTED'), ('QUEUED', 'QUARANTINED'),
      ('ASSIGNED', 'INCLUDED'), ('ASSIGNED', 'QUEUED'), ('ASSIGNED', 'FINALIZED'), ('ASSIGNED', 'QUARANTINED'),
      ('INCLUDED', 'FINALIZED'), ('INCLUDED', 'ASSIGNED'), ('INCLUDED', 'QUARANTINED'))
  $$;

CREATE FUNCTION slot_may_move(from_state text, to_state text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$
    SELECT from_state = to_state OR (from_state, to_state) IN (
      ('SIGNED', 'INCLUDED'), ('INCLUDED', 'SIGNED'),
      ('SIGNED', 'FINALIZED_OK'), ('SIGNED', 'FINALIZED_REVERTED'),
      ('SIGNED', 'FINALIZED_FOREIGN'), ('SIGNED', 'FINALIZED_CANCEL'),
      ('INCLUDED', 'FINALIZED_OK'), ('INCLUDED', 'FINALIZED_REVERTED'),
      ('INCLUDED', 'FINALIZED_FOREIGN'), ('INCLUDED', 'FINALIZED_CANCEL'))
  $$;

-- For tables that only grow.
CREATE FUNCTION refuse_change() RETURNS trigger
  LANGUAGE plpgsql
  AS $$
  BEGIN
    RAISE EXCEPTION '% of % is refused: rows are only ever added', TG_OP, TG_TABLE_NAME
      USING ERRCODE = 'QU002';
  END
  $$;

CREATE FUNCTION guard_sender() RETURNS trigger
  LANGUAGE plpgsql
  AS $$
  BEGIN
    IF TG_OP = 'DELETE' THEN
      -- A sender that is created anew would start again at epoch 1 and let old leaders in.
      RAISE EXCEPTION 'a sender is never deleted' USING ERRCODE = 'QU002';
    END IF;
    IF NEW.epoch < OLD.epoch OR NEW.next_nonce < OLD.next_nonce THEN
      RAISE EXCEPTION 'epoch and next_nonce of a sender never go down' USING ERRCODE = 'QU001';
    END IF;
    RETURN NEW;
  END
  $$;

CREATE FUNCTION guard_submission() RETURNS trigger
  LANGUAGE plpgsql SET search_path FROM CURRENT
  AS $$
  BEGIN
    IF TG_OP = 'INSERT' THEN
      IF NEW.state <> 'QUEUED' THEN
        RAISE EXCEPTION 'a submission begins as QUEUED, not %', NEW.state USING ERRCODE = 'QU001';
      END IF;
      RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
      IF OLD.state <> 'FINALIZED' OR OLD.confirmed_at IS NULL THEN
        RAISE EXCEPTION 'submission % is %: only a confirmed one may be archived', OLD.tx_id, OLD.state
          USING ERRCODE = 'QU002';
      END IF;
      RETURN OLD;
    END IF;
    IF NEW.tx_id <> OLD.tx_id OR NEW.key <> OLD.key OR NEW.value <> OLD.value
      OR NEW.chain_id <> OLD.chain_id OR NEW.decision_revision <> OLD.decision_revision
      OR NEW.trustee_epoch <> OLD.trustee_epoch THEN
      RAISE EXCEPTION 'the decision in submission % is written once', OLD.tx_id USING ERRCODE = 'QU002';
    END IF;
    IF NOT submission_may_move(OLD.state, NEW.state) THEN
      RAISE EXCEPTION 'submission % may not move from % to %', OLD.tx_id, OLD.state, NEW.state
        USING ERRCODE = 'QU001';
    END IF;
    RETURN NEW;
  END
  $$;

CREATE FUNCTION guard_slot() RETURNS trigger
  LANGUAGE plpgsql SET search_path FROM CURRENT
  AS $$
  BEGIN
    IF TG_OP = 'INSERT' THEN
      IF NEW.state <> 'SIGNED' THEN
        RAISE EXCEPTION 'a slot begins as SIGNED, not %', NEW.state USING ERRCODE = 'QU001';
      END IF;
      RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
      IF OLD.state IN ('SIGNED', 'INCLUDED') THEN
        RAISE EXCEPTION 'slot % is not final and may not be deleted', OLD.nonce USING ERRCODE = 'QU002';
      END IF;
      RETURN OLD;
    END IF;
    IF NEW.chain_id <> OLD.chain_id OR NEW.sender <> OLD.sender OR NEW.nonce <> OLD.nonce
      OR NEW.payload <> OLD.payload OR NEW.gas_limit <> OLD.gas_limit THEN
      RAISE EXCEPTION 'the batch of slot % is written once', OLD.nonce USING ERRCODE = 'QU002';
    END IF;
    IF NOT slot_may_move(OLD.state, NEW.state) THEN
      RAISE EXCEPTION 'slot % may not move from % to %', OLD.nonce, OLD.state, NEW.state
        USING ERRCODE = 'QU001';
    END IF;
    RETURN NEW;
  END
  $$;

CREATE FUNCTION record_slot_history() RETURNS trigger
  LANGUAGE plpgsql SET search_path FROM CURRENT
  AS $$
  BEGIN
    IF TG_OP = 'INSERT' THEN
      INSERT INTO slot_history (chain_id, sender, nonce, from_state, to_state, epoch, reason)
      VALUES (NEW.chain_id, NEW.sender, NEW.nonce, NULL, NEW.state, NEW.epoch, NEW.reason);
    ELSIF NEW.state <> OLD.state OR NEW.block_hash IS DISTINCT FROM OLD.block_hash THEN
      INSERT INTO slot_history
        (chain_id, sender, nonce, from_state, to_state, epoch, block_number, block_hash, reason)
      VALUES
        (NEW.chain_id, NEW.sender, NEW.nonce, OLD.state, NEW.state, NEW.epoch,
         NEW.block_number, NEW.block_hash, NEW.reason);
    END IF;
    RETURN NULL;
  END
  $$;

CREATE FUNCTION guard_attempt() RETURNS trigger
  LANGUAGE plpgsql SET search_path FROM CURRENT
  AS $$
  DECLARE
    slot_state text;
  BEGIN
    IF TG_OP = 'UPDATE' THEN
      IF NEW.hash <> OLD.hash OR NEW.raw <> OLD.raw OR NEW.chain_id <> OLD.chain_id
        OR NEW.sender <> OLD.sender OR NEW.nonce <> OLD.nonce OR NEW.kind <> OLD.kind
        OR NEW.max_fee <> OLD.max_fee OR NEW.tip <> OLD.tip OR NEW.epoch <> OLD.epoch THEN
        RAISE EXCEPTION 'a signed attempt is written once' USING ERRCODE = 'QU002';
      END IF;
      RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' THEN
      SELECT state INTO slot_state FROM slot
        WHERE chain_id = NEW.chain_id AND sender = NEW.sender AND nonce = NEW.nonce;
      IF slot_state NOT IN ('SIGNED', 'INCLUDED') THEN
        RAISE EXCEPTION 'slot % is final and takes no more attempts', NEW.nonce USING ERRCODE = 'QU001';
      END IF;
      RETURN NEW;
    END IF;
    -- A replaced transaction may still be the one that is mined: another endpoint can hold it.
    SELECT state INTO slot_state FROM slot
      WHERE chain_id = OLD.chain_id AND sender = OLD.sender AND nonce = OLD.nonce;
    IF slot_state IN ('SIGNED', 'INCLUDED') THEN
      RAISE EXCEPTION 'attempts of slot % may not be deleted before it is final', OLD.nonce
        USING ERRCODE = 'QU002';
    END IF;
    RETURN OLD;
  END
  $$;

CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON sender
  FOR EACH ROW EXECUTE FUNCTION guard_sender();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON submission
  FOR EACH ROW EXECUTE FUNCTION guard_submission();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON slot
  FOR EACH ROW EXECUTE FUNCTION guard_slot();
CREATE TRIGGER history AFTER INSERT OR UPDATE ON slot
  FOR EACH ROW EXECUTE FUNCTION record_slot_history();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON attempt
  FOR EACH ROW EXECUTE FUNCTION guard_attempt();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON tombstone
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON slot_history
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Row triggers do not see TRUNCATE.
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON sender EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON submission EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON slot EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON attempt EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON tombstone EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON slot_history EXECUTE FUNCTION refuse_change();
