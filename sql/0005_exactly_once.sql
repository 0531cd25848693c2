-- What makes "exactly once" hold in the database itself: nonces that are reserved
-- before they are signed, a nonce that is given back only when it is final, what the
-- chain was found to hold, freezes with their reason, what operators did, and the
-- archive. [spec §7.3, §8.1, §9]

-- Why a submission is out of the way: QUARANTINED or ABORTED.
ALTER TABLE submission DROP CONSTRAINT submission_quarantine_reason;
ALTER TABLE submission RENAME COLUMN quarantine_reason TO reason;
UPDATE submission SET reason = 'aborted before reasons were kept' WHERE state = 'ABORTED';
ALTER TABLE submission ADD CONSTRAINT submission_reason CHECK (
  (state IN ('QUARANTINED', 'ABORTED')) = (reason IS NOT NULL));

-- For pages of one state in the order of arrival, and for counting the states that are few.
DROP INDEX submission_state;
CREATE INDEX submission_state ON submission (state, seq);

-- RESERVED: the nonce is taken, and nothing signed for it is known yet.
ALTER TABLE slot DROP CONSTRAINT slot_state_check;
ALTER TABLE slot ADD CONSTRAINT slot_state_check CHECK (state IN (
  'RESERVED', 'SIGNED', 'INCLUDED',
  'FINALIZED_OK', 'FINALIZED_REVERTED', 'FINALIZED_FOREIGN', 'FINALIZED_CANCEL'));
ALTER TABLE slot DROP CONSTRAINT slot_check;
ALTER TABLE slot ADD CONSTRAINT slot_not_mined CHECK (
  state NOT IN ('RESERVED', 'SIGNED')
  OR (block_number IS NULL AND block_hash IS NULL AND receipt_hash IS NULL AND receipt_status IS NULL));

DROP INDEX slot_live;
CREATE INDEX slot_live ON slot (chain_id, sender, nonce)
  WHERE state IN ('RESERVED', 'SIGNED', 'INCLUDED');

-- Two leaders may each ask a remote signer for the same reserved nonce; one answer stands.
CREATE UNIQUE INDEX attempt_original ON attempt (chain_id, sender, nonce) WHERE kind = 'ORIGINAL';

ALTER TABLE sender
  ADD COLUMN frozen_reason text,
  ADD COLUMN frozen_at timestamptz,
  -- The contract's events were held against the submissions through this block.
  ADD COLUMN imported_through_block u64;
UPDATE sender SET frozen_reason = 'frozen before reasons were kept', frozen_at = now() WHERE frozen;
ALTER TABLE sender ADD CONSTRAINT sender_frozen_whole CHECK (
  frozen = (frozen_reason IS NOT NULL) AND frozen = (frozen_at IS NOT NULL));

-- Slots that a submission had and left. The one it has stands in its own row, so this
-- gets a row only when something went wrong. Written by a trigger, so that none is forgotten.
CREATE TABLE submission_former_slot (
  tx_id text NOT NULL,
  chain_id u64 NOT NULL,
  sender bytea NOT NULL,
  nonce u64 NOT NULL,
  left_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tx_id, chain_id, sender, nonce)
);

INSERT INTO submission_former_slot (tx_id, chain_id, sender, nonce)
  SELECT DISTINCT s.tx_id, l.chain_id, l.sender, l.nonce
  FROM slot l
  CROSS JOIN LATERAL jsonb_array_elements(l.payload) AS item
  JOIN submission s ON s.tx_id = item ->> 0
  WHERE (s.chain_id, s.sender, s.nonce) IS DISTINCT FROM (l.chain_id, l.sender, l.nonce)
    AND s.tries > 0;

-- What the contract was found to hold and no submission explained when it was found: a
-- decision for such a key that comes later is not sent.
CREATE TABLE chain_record (
  chain_id u64 NOT NULL,
  key bytea NOT NULL CHECK (octet_length(key) = 32),
  value u64 NOT NULL,
  block_number u64 NOT NULL,
  tx_hash bytea NOT NULL CHECK (octet_length(tx_hash) = 32),
  imported_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (chain_id, key)
);

-- What people decided, and every freeze.
CREATE TABLE operator_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  action text NOT NULL CHECK (action IN ('RELEASE', 'THAW', 'FREEZE')),
  -- A transaction id, or chain/address of a sender.
  subject text NOT NULL,
  -- NULL: a program did it, which can only freeze.
  by text CHECK (by IS NOT NULL OR action = 'FREEZE'),
  reason text NOT NULL
);

-- Confirmed submissions that retention has moved out of the way. Their tombstones stay.
CREATE TABLE submission_archive (
  LIKE submission INCLUDING CONSTRAINTS,
  archived_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tx_id),
  UNIQUE (key),
  CONSTRAINT submission_archive_confirmed CHECK (state = 'FINALIZED' AND confirmed_at IS NOT NULL)
);

CREATE OR REPLACE FUNCTION submission_may_move(from_state text, to_state text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$
    SELECT from_state = to_state OR (from_state, to_state) IN (
      ('QUEUED', 'ASSIGNED'), ('QUEUED', 'FINALIZED'), ('QUEUED', 'ABORTED'), ('QUEUED', 'QUARANTINED'),
      ('ASSIGNED', 'INCLUDED'), ('ASSIGNED', 'QUEUED'), ('ASSIGNED', 'FINALIZED'), ('ASSIGNED', 'QUARANTINED'),
      ('INCLUDED', 'FINALIZED'), ('INCLUDED', 'ASSIGNED'), ('INCLUDED', 'QUARANTINED'),
      ('QUARANTINED', 'QUEUED'))
  $$;

CREATE OR REPLACE FUNCTION slot_may_move(from_state text, to_state text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$
    SELECT from_state = to_state OR (from_state, to_state) IN (
      ('RESERVED', 'SIGNED'), ('RESERVED', 'FINALIZED_FOREIGN'),
      ('SIGNED', 'INCLUDED'), ('INCLUDED', 'SIGNED'),
      ('SIGNED', 'FINALIZED_OK'), ('SIGNED', 'FINALIZED_REVERTED'),
      ('SIGNED', 'FINALIZED_FOREIGN'), ('SIGNED', 'FINALIZED_CANCEL'),
      ('INCLUDED', 'FINALIZED_OK'), ('INCLUDED', 'FINALIZED_REVERTED'),
      ('INCLUDED', 'FINALIZED_FOREIGN'), ('INCLUDED', 'FINALIZED_CANCEL'))
  $$;

CREATE FUNCTION slot_is_live(state text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT state IN ('RESERVED', 'SIGNED', 'INCLUDED') $$;

CREATE OR REPLACE FUNCTION guard_sender() RETURNS trigger
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
    IF OLD.imported_through_block IS NOT NULL AND (
      NEW.imported_through_block IS NULL OR NEW.imported_through_block < OLD.imported_through_block) THEN
      RAISE EXCEPTION 'imported_through_block of a sender never goes down' USING ERRCODE = 'QU001';
    END IF;
    RETURN NEW;
  END
  $$;

CREATE OR REPLACE FUNCTION guard_submission() RETURNS trigger
  LANGUAGE plpgsql SET search_path FROM CURRENT
  AS $$
  DECLARE
    slot_state text;
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
    IF OLD.state = 'FINALIZED' AND (NEW.finalized_at, NEW.finalized_block, NEW.finalized_tx)
      IS DISTINCT FROM (OLD.finalized_at, OLD.finalized_block, OLD.finalized_tx) THEN
      RAISE EXCEPTION 'where submission % is final is written once', OLD.tx_id USING ERRCODE = 'QU002';
    END IF;
    IF OLD.nonce IS NULL AND NEW.nonce IS NOT NULL AND NEW.state <> 'ASSIGNED' THEN
      RAISE EXCEPTION 'submission % may not get a nonce and be %', OLD.tx_id, NEW.state
        USING ERRCODE = 'QU002';
    END IF;
    IF OLD.nonce IS NOT NULL AND (NEW.sender, NEW.nonce) IS DISTINCT FROM (OLD.sender, OLD.nonce) THEN
      IF NEW.state <> 'QUEUED' THEN
        RAISE EXCEPTION 'submission % keeps its nonce until it is queued again', OLD.tx_id
          USING ERRCODE = 'QU002';
      END IF;
      -- A slot that is final never moves again, so this needs no lock on it.
      SELECT state INTO slot_state FROM slot
        WHERE chain_id = OLD.chain_id AND sender = OLD.sender AND nonce = OLD.nonce;
      IF slot_is_live(slot_state) THEN
        RAISE EXCEPTION 'submission % may not be queued again: its nonce % is still %',
          OLD.tx_id, OLD.nonce, slot_state USING ERRCODE = 'QU001';
      END IF;
    END IF;
    RETURN NEW;
  END
  $$;

CREATE FUNCTION record_former_slot() RETURNS trigger
  LANGUAGE plpgsql SET search_path FROM CURRENT
  AS $$
  BEGIN
    INSERT INTO submission_former_slot (tx_id, chain_id, sender, nonce)
      VALUES (OLD.tx_id, OLD.chain_id, OLD.sender, OLD.nonce);
    RETURN NULL;
  END
  $$;

CREATE OR REPLACE FUNCTION guard_slot() RETURNS trigger
  LANGUAGE plpgsql SET search_path FROM CURRENT
  AS $$
  BEGIN
    IF TG_OP = 'INSERT' THEN
      IF NEW.state NOT IN ('RESERVED', 'SIGNED') THEN
        RAISE EXCEPTION 'a slot begins as RESERVED or SIGNED, not %', NEW.state USING ERRCODE = 'QU001';
      END IF;
      RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
      IF slot_is_live(OLD.state) THEN
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

CREATE OR REPLACE FUNCTION guard_attempt() RETURNS trigger
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
      -- A reserved slot becomes SIGNED before it gets its first attempt.
      IF slot_state NOT IN ('SIGNED', 'INCLUDED') THEN
        RAISE EXCEPTION 'slot % is % and takes no attempt', NEW.nonce, slot_state USING ERRCODE = 'QU001';
      END IF;
      RETURN NEW;
    END IF;
    -- A replaced transaction may still be the one that is mined: another endpoint can hold it.
    SELECT state INTO slot_state FROM slot
      WHERE chain_id = OLD.chain_id AND sender = OLD.sender AND nonce = OLD.nonce;
    IF slot_is_live(slot_state) THEN
      RAISE EXCEPTION 'attempts of slot % may not be deleted before it is final', OLD.nonce
        USING ERRCODE = 'QU002';
    END IF;
    RETURN OLD;
  END
  $$;

CREATE TRIGGER former_slot AFTER UPDATE ON submission
  FOR EACH ROW WHEN (OLD.nonce IS NOT NULL AND NEW.nonce IS NULL)
  EXECUTE FUNCTION record_former_slot();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON submission_former_slot
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON chain_record
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON operator_log
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON submission_archive
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON submission_former_slot EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON chain_record EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON operator_log EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON submission_archive EXECUTE FUNCTION refuse_change();

-- As before, but a nonce that is only reserved has submitted nothing.
CREATE OR REPLACE VIEW blockchain_submissions AS
  SELECT
    s.tx_id,
    s.value,
    CASE s.state
      WHEN 'FINALIZED' THEN 'CONFIRMED'
      WHEN 'ABORTED' THEN 'ABORTED_BYZANTINE'
      ELSE 'PENDING'
    END AS state,
    s.nonce,
    -- While it is pending, the transaction that is mined or was signed last.
    CASE s.state
      WHEN 'FINALIZED' THEN s.finalized_tx
      ELSE COALESCE(l.receipt_hash, newest.hash)
    END AS tx_hash,
    CASE WHEN l.state <> 'RESERVED' THEN l.created_at END AS submitted_at,
    s.finalized_at AS confirmed_at,
    CASE s.state WHEN 'FINALIZED' THEN s.finalized_block ELSE l.block_number END AS block_number
  FROM submission s
  LEFT JOIN slot l
    ON l.chain_id = s.chain_id AND l.sender = s.sender AND l.nonce = s.nonce
  LEFT JOIN LATERAL (
    SELECT a.hash FROM attempt a
    WHERE a.chain_id = l.chain_id AND a.sender = l.sender AND a.nonce = l.nonce
    ORDER BY a.seq DESC LIMIT 1
  ) newest ON true
UNION ALL
  -- What was aborted never became a submission.
  SELECT t.tx_id, t.value, 'ABORTED_BYZANTINE', NULL, NULL, NULL, NULL, NULL
  FROM transaction_history t
  WHERE t.status = 'ABORTED_BYZANTINE'
    AND NOT EXISTS (SELECT 1 FROM submission s WHERE s.tx_id = t.tx_id);

-- The archive in the same words. submitted_at is known as long as the slot is kept.
CREATE VIEW blockchain_submissions_archive AS
  SELECT
    s.tx_id,
    s.value,
    'CONFIRMED' AS state,
    s.nonce,
    s.finalized_tx AS tx_hash,
    l.created_at AS submitted_at,
    s.finalized_at AS confirmed_at,
    s.finalized_block AS block_number
  FROM submission_archive s
  LEFT JOIN slot l
    ON l.chain_id = s.chain_id AND l.sender = s.sender AND l.nonce = s.nonce;
