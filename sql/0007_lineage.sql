-- An etcd that was restored from a snapshot is another one: its revisions begin again
-- at an older number and mean other changes. So the position says of which etcd it
-- is, and revisions in these tables are etcd's own plus an offset, which makes
-- whatever comes from a later etcd later. [spec §16.3]
ALTER TABLE projector_position
  -- The etcd cluster's id; NULL: recorded before it was kept. A restore puts a word of its own here.
  ADD COLUMN lineage_id text,
  ADD COLUMN restarts integer NOT NULL DEFAULT 0 CHECK (restarts >= 0),
  ADD COLUMN revision_offset bigint NOT NULL DEFAULT 0 CHECK (revision_offset >= 0);

CREATE OR REPLACE FUNCTION guard_projector_position() RETURNS trigger
  LANGUAGE plpgsql
  AS $$
  BEGIN
    IF TG_OP = 'DELETE' THEN
      RAISE EXCEPTION 'the projector position is never deleted' USING ERRCODE = 'QU002';
    END IF;
    IF NEW.revision IS NULL AND OLD.revision IS NOT NULL OR NEW.revision < OLD.revision THEN
      RAISE EXCEPTION 'the projector position never goes back' USING ERRCODE = 'QU001';
    END IF;
    IF NEW.revision_offset < OLD.revision_offset OR NEW.restarts < OLD.restarts THEN
      RAISE EXCEPTION 'the lineage of history never goes back' USING ERRCODE = 'QU001';
    END IF;
    RETURN NEW;
  END
  $$;

-- Each time that history began again.
CREATE TABLE history_restart (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  from_lineage text,
  to_lineage text NOT NULL,
  -- How far it had come, in revisions of this schema: from there on is the other etcd.
  revision_offset bigint NOT NULL,
  reason text NOT NULL
);

-- What an earlier etcd had said and a later one says otherwise. The earlier word
-- stands; two votes of one trustee are the proof of a double vote.
CREATE TABLE history_contradiction (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  kind text NOT NULL CHECK (kind IN ('transaction', 'vote')),
  tx_id text NOT NULL,
  node_id text NOT NULL DEFAULT '',
  recorded jsonb NOT NULL,
  found jsonb NOT NULL,
  -- The same again adds nothing. A digest, for a proof may be longer than an index takes.
  found_md5 text GENERATED ALWAYS AS (md5(found::text)) STORED,
  revision bigint NOT NULL,
  UNIQUE (kind, tx_id, node_id, found_md5)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON history_restart
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON history_restart EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON history_contradiction
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON history_contradiction EXECUTE FUNCTION refuse_change();
