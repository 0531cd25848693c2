-- A freeze ends, and its reason with it; that the history was never held against the
-- chain, or that it differed, must not end with it. So both stand for themselves, and
-- no nonce is taken before the history is checked. [spec §8.1]
ALTER TABLE sender
  ADD COLUMN history_checked boolean NOT NULL DEFAULT false,
  -- An import found what the database did not know, and no person has accepted it since.
  ADD COLUMN history_differs boolean NOT NULL DEFAULT false;

-- Who leads now goes on; who waits for a check still waits. A frozen sender has a reason.
UPDATE sender SET
  history_checked = NOT frozen
    OR NOT (frozen_reason LIKE 'restored from %' OR frozen_reason LIKE 'history lost: %'),
  history_differs = frozen AND frozen_reason LIKE 'the database differed%';
