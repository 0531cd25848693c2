-- The table of the spec's §7.3 as a view, with its three states, for whoever knows
-- the system from the spec. Nothing in the program reads it.

CREATE VIEW blockchain_submissions AS
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
    l.created_at AS submitted_at,
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
