-- Each backup that was whole and checked. Backups lie where this database is not; that
-- nobody makes any more is noticed only if what watches the cluster can ask when the
-- last one was. A database that was restored knows of those before it. [spec §16.3]
CREATE TABLE backup_made (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- What is newer than this is not in it. By this server's own clock, as all ages are.
  taken_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT now(),
  tool text NOT NULL,
  -- As its maker named it, on its maker's machine.
  directory text NOT NULL CHECK (length(directory) <= 4096),
  bytes bigint NOT NULL CHECK (bytes >= 0),
  CHECK (taken_at <= finished_at)
);

CREATE INDEX backup_made_taken_at ON backup_made (taken_at);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON backup_made
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON backup_made EXECUTE FUNCTION refuse_change();
