-- What the migrations come to, as PostgreSQL's own catalog tells it. For reading and
-- for comparing: a test fails when the migrations make anything else. Not to be run.

-- domains
DOMAIN u64 AS numeric(20,0) CHECK (((VALUE >= (0)::numeric) AND (VALUE <= '18446744073709551615'::numeric)))
DOMAIN wei AS numeric(78,0) CHECK ((VALUE >= (0)::numeric))

-- columns
COLUMN attempt.hash bytea NOT NULL
COLUMN attempt.seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN attempt.chain_id u64 NOT NULL
COLUMN attempt.sender bytea NOT NULL
COLUMN attempt.nonce u64 NOT NULL
COLUMN attempt.kind text NOT NULL
COLUMN attempt.raw bytea NOT NULL
COLUMN attempt.max_fee wei NOT NULL
COLUMN attempt.tip wei NOT NULL
COLUMN attempt.epoch bigint NOT NULL
COLUMN attempt.created_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN attempt.last_sent_at timestamp with time zone
COLUMN attempt.sent_count integer NOT NULL DEFAULT 0
COLUMN attempt.last_outcome text
COLUMN backup_made.id bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN backup_made.taken_at timestamp with time zone NOT NULL
COLUMN backup_made.finished_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN backup_made.tool text NOT NULL
COLUMN backup_made.directory text NOT NULL
COLUMN backup_made.bytes bigint NOT NULL
COLUMN ban_lifts.id bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN ban_lifts.peer_id text NOT NULL
COLUMN ban_lifts.node_id text
COLUMN ban_lifts.kind text NOT NULL
COLUMN ban_lifts.lifted_by text NOT NULL
COLUMN ban_lifts.reason text NOT NULL
COLUMN ban_lifts.lifted_at timestamp with time zone NOT NULL
COLUMN ban_lifts.ban_reason text
COLUMN ban_lifts.revision bigint NOT NULL
COLUMN banned_peers.peer_id text NOT NULL
COLUMN banned_peers.node_id text
COLUMN banned_peers.reason text NOT NULL
COLUMN banned_peers.grade text NOT NULL
COLUMN banned_peers.banned_at timestamp with time zone NOT NULL
COLUMN banned_peers.revision bigint NOT NULL
COLUMN banned_peers.evidence_json jsonb
VIEW COLUMN blockchain_submissions.tx_id text
VIEW COLUMN blockchain_submissions.value u64
VIEW COLUMN blockchain_submissions.state text
VIEW COLUMN blockchain_submissions.nonce numeric
VIEW COLUMN blockchain_submissions.tx_hash bytea
VIEW COLUMN blockchain_submissions.submitted_at timestamp with time zone
VIEW COLUMN blockchain_submissions.confirmed_at timestamp with time zone
VIEW COLUMN blockchain_submissions.block_number numeric
VIEW COLUMN blockchain_submissions_archive.tx_id text
VIEW COLUMN blockchain_submissions_archive.value u64
VIEW COLUMN blockchain_submissions_archive.state text
VIEW COLUMN blockchain_submissions_archive.nonce u64
VIEW COLUMN blockchain_submissions_archive.tx_hash bytea
VIEW COLUMN blockchain_submissions_archive.submitted_at timestamp with time zone
VIEW COLUMN blockchain_submissions_archive.confirmed_at timestamp with time zone
VIEW COLUMN blockchain_submissions_archive.block_number u64
COLUMN byzantine_violations.id bigint NOT NULL DEFAULT nextval('byzantine_violations_id_seq'::regclass)
COLUMN byzantine_violations.peer_id text NOT NULL
COLUMN byzantine_violations.node_id text
COLUMN byzantine_violations.tx_id text NOT NULL
COLUMN byzantine_violations.violation_type text NOT NULL
COLUMN byzantine_violations.grade text NOT NULL
COLUMN byzantine_violations.evidence_json jsonb NOT NULL
COLUMN byzantine_violations.detected_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN byzantine_violations.revision bigint NOT NULL
COLUMN byzantine_violations.borne_out boolean NOT NULL DEFAULT true
COLUMN chain_record.chain_id u64 NOT NULL
COLUMN chain_record.key bytea NOT NULL
COLUMN chain_record.value u64 NOT NULL
COLUMN chain_record.block_number u64 NOT NULL
COLUMN chain_record.tx_hash bytea NOT NULL
COLUMN chain_record.imported_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN discard_receipts.id bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN discard_receipts.node_id text NOT NULL
COLUMN discard_receipts.run_started_at_ms bigint NOT NULL
COLUMN discard_receipts.sequence bigint NOT NULL
COLUMN discard_receipts.issued_at timestamp with time zone NOT NULL
COLUMN discard_receipts.reason text NOT NULL
COLUMN discard_receipts.count bigint NOT NULL
COLUMN discard_receipts.tx_id text
COLUMN discard_receipts.voter text
COLUMN discard_receipts.author text
COLUMN discard_receipts.receipt jsonb NOT NULL
COLUMN discard_receipts.revision bigint NOT NULL
COLUMN history_contradiction.id bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN history_contradiction.at timestamp with time zone NOT NULL DEFAULT now()
COLUMN history_contradiction.kind text NOT NULL
COLUMN history_contradiction.tx_id text NOT NULL
COLUMN history_contradiction.node_id text NOT NULL DEFAULT ''::text
COLUMN history_contradiction.recorded jsonb NOT NULL
COLUMN history_contradiction.found jsonb NOT NULL
COLUMN history_contradiction.found_md5 text DEFAULT md5((found)::text)
COLUMN history_contradiction.revision bigint NOT NULL
COLUMN history_restart.id bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN history_restart.at timestamp with time zone NOT NULL DEFAULT now()
COLUMN history_restart.from_lineage text
COLUMN history_restart.to_lineage text NOT NULL
COLUMN history_restart.revision_offset bigint NOT NULL
COLUMN history_restart.reason text NOT NULL
COLUMN node_reputation.peer_id text NOT NULL
COLUMN node_reputation.node_id text
COLUMN node_reputation.reputation_score double precision NOT NULL DEFAULT 1.0
COLUMN node_reputation.total_votes bigint NOT NULL DEFAULT 0
COLUMN node_reputation.violations_count integer NOT NULL DEFAULT 0
COLUMN node_reputation.last_seen timestamp with time zone NOT NULL DEFAULT now()
COLUMN node_reputation.penalty double precision NOT NULL DEFAULT 0.0
COLUMN node_reputation.penalty_at timestamp with time zone NOT NULL DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone
COLUMN node_reputation.proven boolean NOT NULL DEFAULT false
COLUMN operator_log.id bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN operator_log.at timestamp with time zone NOT NULL DEFAULT now()
COLUMN operator_log.action text NOT NULL
COLUMN operator_log.subject text NOT NULL
COLUMN operator_log.by text
COLUMN operator_log.reason text NOT NULL
COLUMN projector_position.only_row boolean NOT NULL DEFAULT true
COLUMN projector_position.revision bigint
COLUMN projector_position.updated_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN projector_position.lineage_id text
COLUMN projector_position.restarts integer NOT NULL DEFAULT 0
COLUMN projector_position.revision_offset bigint NOT NULL DEFAULT 0
COLUMN schema_migration.id integer NOT NULL DEFAULT nextval('schema_migration_id_seq'::regclass)
COLUMN schema_migration.name character varying(255) NOT NULL
COLUMN schema_migration.run_on timestamp without time zone NOT NULL
COLUMN sender.chain_id u64 NOT NULL
COLUMN sender.address bytea NOT NULL
COLUMN sender.epoch bigint NOT NULL
COLUMN sender.next_nonce u64 NOT NULL
COLUMN sender.frozen boolean NOT NULL DEFAULT false
COLUMN sender.frozen_reason text
COLUMN sender.frozen_at timestamp with time zone
COLUMN sender.imported_through_block u64
COLUMN sender.history_checked boolean NOT NULL DEFAULT false
COLUMN sender.history_differs boolean NOT NULL DEFAULT false
COLUMN slot.chain_id u64 NOT NULL
COLUMN slot.sender bytea NOT NULL
COLUMN slot.nonce u64 NOT NULL
COLUMN slot.state text NOT NULL
COLUMN slot.payload jsonb NOT NULL
COLUMN slot.gas_limit u64 NOT NULL
COLUMN slot.block_number u64
COLUMN slot.block_hash bytea
COLUMN slot.receipt_hash bytea
COLUMN slot.receipt_status text
COLUMN slot.epoch bigint NOT NULL
COLUMN slot.reason text
COLUMN slot.created_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN slot_history.id bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN slot_history.chain_id u64 NOT NULL
COLUMN slot_history.sender bytea NOT NULL
COLUMN slot_history.nonce u64 NOT NULL
COLUMN slot_history.from_state text
COLUMN slot_history.to_state text NOT NULL
COLUMN slot_history.epoch bigint NOT NULL
COLUMN slot_history.block_number u64
COLUMN slot_history.block_hash bytea
COLUMN slot_history.reason text
COLUMN slot_history.at timestamp with time zone NOT NULL DEFAULT now()
COLUMN submission.tx_id text NOT NULL
COLUMN submission.seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY
COLUMN submission.key bytea NOT NULL
COLUMN submission.value u64 NOT NULL
COLUMN submission.trustee_epoch bigint NOT NULL
COLUMN submission.decision_revision bigint NOT NULL
COLUMN submission.state text NOT NULL DEFAULT 'QUEUED'::text
COLUMN submission.chain_id u64 NOT NULL
COLUMN submission.sender bytea
COLUMN submission.nonce u64
COLUMN submission.batch_index integer
COLUMN submission.tries integer NOT NULL DEFAULT 0
COLUMN submission.queued_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN submission.finalized_at timestamp with time zone
COLUMN submission.finalized_block u64
COLUMN submission.finalized_tx bytea
COLUMN submission.confirmed_at timestamp with time zone
COLUMN submission.reason text
COLUMN submission_archive.tx_id text NOT NULL
COLUMN submission_archive.seq bigint NOT NULL
COLUMN submission_archive.key bytea NOT NULL
COLUMN submission_archive.value u64 NOT NULL
COLUMN submission_archive.trustee_epoch bigint NOT NULL
COLUMN submission_archive.decision_revision bigint NOT NULL
COLUMN submission_archive.state text NOT NULL
COLUMN submission_archive.chain_id u64 NOT NULL
COLUMN submission_archive.sender bytea
COLUMN submission_archive.nonce u64
COLUMN submission_archive.batch_index integer
COLUMN submission_archive.tries integer NOT NULL
COLUMN submission_archive.queued_at timestamp with time zone NOT NULL
COLUMN submission_archive.finalized_at timestamp with time zone
COLUMN submission_archive.finalized_block u64
COLUMN submission_archive.finalized_tx bytea
COLUMN submission_archive.confirmed_at timestamp with time zone
COLUMN submission_archive.reason text
COLUMN submission_archive.archived_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN submission_former_slot.tx_id text NOT NULL
COLUMN submission_former_slot.chain_id u64 NOT NULL
COLUMN submission_former_slot.sender bytea NOT NULL
COLUMN submission_former_slot.nonce u64 NOT NULL
COLUMN submission_former_slot.left_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN tombstone.tx_id text NOT NULL
COLUMN tombstone.value u64 NOT NULL
COLUMN tombstone.created_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN transaction_history.tx_id text NOT NULL
COLUMN transaction_history.status text NOT NULL
COLUMN transaction_history.reason text
COLUMN transaction_history.value u64
COLUMN transaction_history.epoch bigint NOT NULL
COLUMN transaction_history.opened_at timestamp with time zone NOT NULL
COLUMN transaction_history.record jsonb NOT NULL
COLUMN transaction_history.revision bigint NOT NULL
COLUMN transaction_history.decided_revision bigint
COLUMN transaction_history.settled_at timestamp with time zone
COLUMN transaction_history.votes_purged_at timestamp with time zone
COLUMN transaction_history.purged_at timestamp with time zone
COLUMN vote_history.tx_id text NOT NULL
COLUMN vote_history.node_id text NOT NULL
COLUMN vote_history.peer_id text NOT NULL
COLUMN vote_history.epoch bigint NOT NULL
COLUMN vote_history.value u64 NOT NULL
COLUMN vote_history.signature bytea NOT NULL
COLUMN vote_history.proof jsonb NOT NULL
COLUMN vote_history.issued_at timestamp with time zone NOT NULL
COLUMN vote_history.revision bigint NOT NULL
COLUMN vote_history.received_at timestamp with time zone NOT NULL DEFAULT now()
COLUMN vote_history_archive.tx_id text NOT NULL
COLUMN vote_history_archive.node_id text NOT NULL
COLUMN vote_history_archive.peer_id text NOT NULL
COLUMN vote_history_archive.epoch bigint NOT NULL
COLUMN vote_history_archive.value u64 NOT NULL
COLUMN vote_history_archive.signature bytea NOT NULL
COLUMN vote_history_archive.proof jsonb NOT NULL
COLUMN vote_history_archive.issued_at timestamp with time zone NOT NULL
COLUMN vote_history_archive.revision bigint NOT NULL
COLUMN vote_history_archive.received_at timestamp with time zone NOT NULL
COLUMN vote_history_archive.archived_at timestamp with time zone NOT NULL DEFAULT now()

-- constraints
CONSTRAINT attempt.attempt_chain_id_sender_nonce_fkey FOREIGN KEY (chain_id, sender, nonce) REFERENCES slot(chain_id, sender, nonce)
CONSTRAINT attempt.attempt_hash_check CHECK ((octet_length(hash) = 32))
CONSTRAINT attempt.attempt_kind_check CHECK ((kind = ANY (ARRAY['ORIGINAL'::text, 'BUMP'::text, 'CANCEL'::text, 'GAPFILL'::text])))
CONSTRAINT attempt.attempt_pkey PRIMARY KEY (hash)
CONSTRAINT attempt.attempt_raw_check CHECK ((octet_length(raw) > 0))
CONSTRAINT attempt.attempt_sent_count_check CHECK ((sent_count >= 0))
CONSTRAINT backup_made.backup_made_bytes_check CHECK ((bytes >= 0))
CONSTRAINT backup_made.backup_made_check CHECK ((taken_at <= finished_at))
CONSTRAINT backup_made.backup_made_directory_check CHECK ((length(directory) <= 4096))
CONSTRAINT backup_made.backup_made_pkey PRIMARY KEY (id)
CONSTRAINT ban_lifts.ban_lifts_kind_check CHECK ((kind = ANY (ARRAY['OPERATOR'::text, 'UNPROVEN'::text])))
CONSTRAINT ban_lifts.ban_lifts_peer_id_revision_key UNIQUE (peer_id, revision)
CONSTRAINT ban_lifts.ban_lifts_pkey PRIMARY KEY (id)
CONSTRAINT banned_peers.banned_peers_grade_check CHECK ((grade = ANY (ARRAY['PROOF'::text, 'OPINION'::text])))
CONSTRAINT banned_peers.banned_peers_pkey PRIMARY KEY (peer_id)
CONSTRAINT byzantine_violations.byzantine_violations_grade_check CHECK ((grade = ANY (ARRAY['PROOF'::text, 'OPINION'::text])))
CONSTRAINT byzantine_violations.byzantine_violations_pkey PRIMARY KEY (id)
CONSTRAINT byzantine_violations.byzantine_violations_tx_id_peer_id_violation_type_key UNIQUE (tx_id, peer_id, violation_type)
CONSTRAINT byzantine_violations.byzantine_violations_violation_type_check CHECK ((violation_type = ANY (ARRAY['DOUBLE_VOTING'::text, 'MINORITY_VOTE'::text, 'INVALID_SIGNATURE'::text, 'SILENT_FAILURE'::text])))
CONSTRAINT chain_record.chain_record_key_check CHECK ((octet_length(key) = 32))
CONSTRAINT chain_record.chain_record_pkey PRIMARY KEY (chain_id, key)
CONSTRAINT chain_record.chain_record_tx_hash_check CHECK ((octet_length(tx_hash) = 32))
CONSTRAINT discard_receipts.discard_receipts_node_id_run_started_at_ms_sequence_key UNIQUE (node_id, run_started_at_ms, sequence)
CONSTRAINT discard_receipts.discard_receipts_pkey PRIMARY KEY (id)
CONSTRAINT history_contradiction.history_contradiction_kind_check CHECK ((kind = ANY (ARRAY['transaction'::text, 'vote'::text])))
CONSTRAINT history_contradiction.history_contradiction_kind_tx_id_node_id_found_md5_key UNIQUE (kind, tx_id, node_id, found_md5)
CONSTRAINT history_contradiction.history_contradiction_pkey PRIMARY KEY (id)
CONSTRAINT history_restart.history_restart_pkey PRIMARY KEY (id)
CONSTRAINT node_reputation.node_reputation_penalty_check CHECK (((penalty >= (0.0)::double precision) AND (penalty <= (1.0)::double precision)))
CONSTRAINT node_reputation.node_reputation_pkey PRIMARY KEY (peer_id)
CONSTRAINT node_reputation.node_reputation_reputation_score_check CHECK (((reputation_score >= (0.0)::double precision) AND (reputation_score <= (1.0)::double precision)))
CONSTRAINT operator_log.operator_log_action_check CHECK ((action = ANY (ARRAY['RELEASE'::text, 'THAW'::text, 'FREEZE'::text])))
CONSTRAINT operator_log.operator_log_check CHECK (((by IS NOT NULL) OR (action = 'FREEZE'::text)))
CONSTRAINT operator_log.operator_log_pkey PRIMARY KEY (id)
CONSTRAINT projector_position.projector_position_only_row_check CHECK (only_row)
CONSTRAINT projector_position.projector_position_pkey PRIMARY KEY (only_row)
CONSTRAINT projector_position.projector_position_restarts_check CHECK ((restarts >= 0))
CONSTRAINT projector_position.projector_position_revision_check CHECK ((revision >= 0))
CONSTRAINT projector_position.projector_position_revision_offset_check CHECK ((revision_offset >= 0))
CONSTRAINT schema_migration.schema_migration_pkey PRIMARY KEY (id)
CONSTRAINT sender.sender_address_check CHECK ((octet_length(address) = 20))
CONSTRAINT sender.sender_epoch_check CHECK ((epoch >= 1))
CONSTRAINT sender.sender_frozen_whole CHECK (((frozen = (frozen_reason IS NOT NULL)) AND (frozen = (frozen_at IS NOT NULL))))
CONSTRAINT sender.sender_pkey PRIMARY KEY (chain_id, address)
CONSTRAINT slot.slot_block_hash_check CHECK ((octet_length(block_hash) = 32))
CONSTRAINT slot.slot_chain_id_sender_fkey FOREIGN KEY (chain_id, sender) REFERENCES sender(chain_id, address)
CONSTRAINT slot.slot_check1 CHECK (((state <> 'INCLUDED'::text) OR ((block_number IS NOT NULL) AND (block_hash IS NOT NULL) AND (receipt_hash IS NOT NULL) AND (receipt_status IS NOT NULL))))
CONSTRAINT slot.slot_not_mined CHECK (((state <> ALL (ARRAY['RESERVED'::text, 'SIGNED'::text])) OR ((block_number IS NULL) AND (block_hash IS NULL) AND (receipt_hash IS NULL) AND (receipt_status IS NULL))))
CONSTRAINT slot.slot_payload_check CHECK ((jsonb_typeof(payload) = 'array'::text))
CONSTRAINT slot.slot_pkey PRIMARY KEY (chain_id, sender, nonce)
CONSTRAINT slot.slot_receipt_hash_check CHECK ((octet_length(receipt_hash) = 32))
CONSTRAINT slot.slot_receipt_status_check CHECK ((receipt_status = ANY (ARRAY['success'::text, 'reverted'::text])))
CONSTRAINT slot.slot_state_check CHECK ((state = ANY (ARRAY['RESERVED'::text, 'SIGNED'::text, 'INCLUDED'::text, 'FINALIZED_OK'::text, 'FINALIZED_REVERTED'::text, 'FINALIZED_FOREIGN'::text, 'FINALIZED_CANCEL'::text])))
CONSTRAINT slot_history.slot_history_pkey PRIMARY KEY (id)
CONSTRAINT submission.submission_assigned_has_slot CHECK (((state <> ALL (ARRAY['ASSIGNED'::text, 'INCLUDED'::text])) OR (nonce IS NOT NULL)))
CONSTRAINT submission.submission_batch_index_check CHECK ((batch_index >= 0))
CONSTRAINT submission.submission_chain_id_sender_nonce_fkey FOREIGN KEY (chain_id, sender, nonce) REFERENCES slot(chain_id, sender, nonce)
CONSTRAINT submission.submission_confirmed_at CHECK (((confirmed_at IS NULL) OR (state = 'FINALIZED'::text)))
CONSTRAINT submission.submission_finalized_at CHECK (((state = 'FINALIZED'::text) = (finalized_at IS NOT NULL)))
CONSTRAINT submission.submission_finalized_tx_check CHECK ((octet_length(finalized_tx) = 32))
CONSTRAINT submission.submission_key_check CHECK ((octet_length(key) = 32))
CONSTRAINT submission.submission_key_key UNIQUE (key)
CONSTRAINT submission.submission_pkey PRIMARY KEY (tx_id)
CONSTRAINT submission.submission_queued_has_no_slot CHECK (((state <> 'QUEUED'::text) OR (nonce IS NULL)))
CONSTRAINT submission.submission_reason CHECK (((state = ANY (ARRAY['QUARANTINED'::text, 'ABORTED'::text])) = (reason IS NOT NULL)))
CONSTRAINT submission.submission_slot_whole CHECK ((((sender IS NULL) = (nonce IS NULL)) AND ((batch_index IS NULL) = (nonce IS NULL))))
CONSTRAINT submission.submission_state_check CHECK ((state = ANY (ARRAY['QUEUED'::text, 'ASSIGNED'::text, 'INCLUDED'::text, 'FINALIZED'::text, 'ABORTED'::text, 'QUARANTINED'::text])))
CONSTRAINT submission.submission_tries_check CHECK ((tries >= 0))
CONSTRAINT submission.submission_tx_id_fkey FOREIGN KEY (tx_id) REFERENCES tombstone(tx_id)
CONSTRAINT submission_archive.submission_archive_confirmed CHECK (((state = 'FINALIZED'::text) AND (confirmed_at IS NOT NULL)))
CONSTRAINT submission_archive.submission_archive_key_key UNIQUE (key)
CONSTRAINT submission_archive.submission_archive_pkey PRIMARY KEY (tx_id)
CONSTRAINT submission_archive.submission_assigned_has_slot CHECK (((state <> ALL (ARRAY['ASSIGNED'::text, 'INCLUDED'::text])) OR (nonce IS NOT NULL)))
CONSTRAINT submission_archive.submission_batch_index_check CHECK ((batch_index >= 0))
CONSTRAINT submission_archive.submission_confirmed_at CHECK (((confirmed_at IS NULL) OR (state = 'FINALIZED'::text)))
CONSTRAINT submission_archive.submission_finalized_at CHECK (((state = 'FINALIZED'::text) = (finalized_at IS NOT NULL)))
CONSTRAINT submission_archive.submission_finalized_tx_check CHECK ((octet_length(finalized_tx) = 32))
CONSTRAINT submission_archive.submission_key_check CHECK ((octet_length(key) = 32))
CONSTRAINT submission_archive.submission_queued_has_no_slot CHECK (((state <> 'QUEUED'::text) OR (nonce IS NULL)))
CONSTRAINT submission_archive.submission_reason CHECK (((state = ANY (ARRAY['QUARANTINED'::text, 'ABORTED'::text])) = (reason IS NOT NULL)))
CONSTRAINT submission_archive.submission_slot_whole CHECK ((((sender IS NULL) = (nonce IS NULL)) AND ((batch_index IS NULL) = (nonce IS NULL))))
CONSTRAINT submission_archive.submission_state_check CHECK ((state = ANY (ARRAY['QUEUED'::text, 'ASSIGNED'::text, 'INCLUDED'::text, 'FINALIZED'::text, 'ABORTED'::text, 'QUARANTINED'::text])))
CONSTRAINT submission_archive.submission_tries_check CHECK ((tries >= 0))
CONSTRAINT submission_former_slot.submission_former_slot_pkey PRIMARY KEY (tx_id, chain_id, sender, nonce)
CONSTRAINT tombstone.tombstone_pkey PRIMARY KEY (tx_id)
CONSTRAINT transaction_history.transaction_history_pkey PRIMARY KEY (tx_id)
CONSTRAINT transaction_history.transaction_history_purged CHECK ((((votes_purged_at IS NULL) OR (settled_at IS NOT NULL)) AND ((purged_at IS NULL) OR (votes_purged_at IS NOT NULL))))
CONSTRAINT vote_history.vote_history_pkey PRIMARY KEY (tx_id, node_id)

-- indexes
CREATE UNIQUE INDEX attempt_original ON quorate.attempt USING btree (chain_id, sender, nonce) WHERE (kind = 'ORIGINAL'::text)
CREATE UNIQUE INDEX attempt_pkey ON quorate.attempt USING btree (hash)
CREATE INDEX attempt_slot ON quorate.attempt USING btree (chain_id, sender, nonce, seq)
CREATE UNIQUE INDEX backup_made_pkey ON quorate.backup_made USING btree (id)
CREATE INDEX backup_made_taken_at ON quorate.backup_made USING btree (taken_at)
CREATE UNIQUE INDEX ban_lifts_peer_id_revision_key ON quorate.ban_lifts USING btree (peer_id, revision)
CREATE UNIQUE INDEX ban_lifts_pkey ON quorate.ban_lifts USING btree (id)
CREATE UNIQUE INDEX banned_peers_pkey ON quorate.banned_peers USING btree (peer_id)
CREATE INDEX byzantine_violations_detected_at ON quorate.byzantine_violations USING btree (detected_at)
CREATE INDEX byzantine_violations_peer_id ON quorate.byzantine_violations USING btree (peer_id)
CREATE UNIQUE INDEX byzantine_violations_pkey ON quorate.byzantine_violations USING btree (id)
CREATE UNIQUE INDEX byzantine_violations_tx_id_peer_id_violation_type_key ON quorate.byzantine_violations USING btree (tx_id, peer_id, violation_type)
CREATE UNIQUE INDEX chain_record_pkey ON quorate.chain_record USING btree (chain_id, key)
CREATE INDEX discard_receipts_author ON quorate.discard_receipts USING btree (author, id)
CREATE UNIQUE INDEX discard_receipts_node_id_run_started_at_ms_sequence_key ON quorate.discard_receipts USING btree (node_id, run_started_at_ms, sequence)
CREATE UNIQUE INDEX discard_receipts_pkey ON quorate.discard_receipts USING btree (id)
CREATE INDEX discard_receipts_tx_id ON quorate.discard_receipts USING btree (tx_id) WHERE (tx_id IS NOT NULL)
CREATE UNIQUE INDEX history_contradiction_kind_tx_id_node_id_found_md5_key ON quorate.history_contradiction USING btree (kind, tx_id, node_id, found_md5)
CREATE UNIQUE INDEX history_contradiction_pkey ON quorate.history_contradiction USING btree (id)
CREATE UNIQUE INDEX history_restart_pkey ON quorate.history_restart USING btree (id)
CREATE UNIQUE INDEX node_reputation_pkey ON quorate.node_reputation USING btree (peer_id)
CREATE INDEX node_reputation_score ON quorate.node_reputation USING btree (reputation_score)
CREATE UNIQUE INDEX operator_log_pkey ON quorate.operator_log USING btree (id)
CREATE UNIQUE INDEX projector_position_pkey ON quorate.projector_position USING btree (only_row)
CREATE UNIQUE INDEX schema_migration_pkey ON quorate.schema_migration USING btree (id)
CREATE UNIQUE INDEX sender_pkey ON quorate.sender USING btree (chain_id, address)
CREATE INDEX slot_live ON quorate.slot USING btree (chain_id, sender, nonce) WHERE (state = ANY (ARRAY['RESERVED'::text, 'SIGNED'::text, 'INCLUDED'::text]))
CREATE UNIQUE INDEX slot_pkey ON quorate.slot USING btree (chain_id, sender, nonce)
CREATE UNIQUE INDEX slot_history_pkey ON quorate.slot_history USING btree (id)
CREATE INDEX slot_history_slot ON quorate.slot_history USING btree (chain_id, sender, nonce, id)
CREATE INDEX submission_confirmed ON quorate.submission USING btree (confirmed_at, tx_id) WHERE (confirmed_at IS NOT NULL)
CREATE UNIQUE INDEX submission_key_key ON quorate.submission USING btree (key)
CREATE INDEX submission_of_slot ON quorate.submission USING btree (chain_id, sender, nonce) WHERE (nonce IS NOT NULL)
CREATE UNIQUE INDEX submission_pkey ON quorate.submission USING btree (tx_id)
CREATE INDEX submission_queued ON quorate.submission USING btree (chain_id, seq) WHERE (state = 'QUEUED'::text)
CREATE INDEX submission_state ON quorate.submission USING btree (state, seq)
CREATE INDEX submission_unconfirmed ON quorate.submission USING btree (finalized_at, seq) WHERE ((state = 'FINALIZED'::text) AND (confirmed_at IS NULL))
CREATE UNIQUE INDEX submission_archive_key_key ON quorate.submission_archive USING btree (key)
CREATE UNIQUE INDEX submission_archive_pkey ON quorate.submission_archive USING btree (tx_id)
CREATE UNIQUE INDEX submission_former_slot_pkey ON quorate.submission_former_slot USING btree (tx_id, chain_id, sender, nonce)
CREATE UNIQUE INDEX tombstone_pkey ON quorate.tombstone USING btree (tx_id)
CREATE UNIQUE INDEX transaction_history_pkey ON quorate.transaction_history USING btree (tx_id)
CREATE INDEX transaction_history_records_due ON quorate.transaction_history USING btree (settled_at, tx_id) WHERE ((purged_at IS NULL) AND (settled_at IS NOT NULL))
CREATE INDEX transaction_history_status ON quorate.transaction_history USING btree (status)
CREATE INDEX transaction_history_votes_due ON quorate.transaction_history USING btree (settled_at, tx_id) WHERE ((votes_purged_at IS NULL) AND (settled_at IS NOT NULL))
CREATE INDEX vote_history_peer_id ON quorate.vote_history USING btree (peer_id)
CREATE UNIQUE INDEX vote_history_pkey ON quorate.vote_history USING btree (tx_id, node_id)
CREATE INDEX vote_history_received_at ON quorate.vote_history USING btree (received_at)

-- triggers
CREATE TRIGGER guard BEFORE INSERT OR DELETE OR UPDATE ON quorate.attempt FOR EACH ROW EXECUTE FUNCTION guard_attempt()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.attempt FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.backup_made FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.backup_made FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.ban_lifts FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.ban_lifts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.byzantine_violations FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.byzantine_violations FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.chain_record FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.chain_record FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.discard_receipts FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.discard_receipts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.history_contradiction FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.history_contradiction FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.history_restart FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.history_restart FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.operator_log FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.operator_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER guard BEFORE DELETE OR UPDATE ON quorate.projector_position FOR EACH ROW EXECUTE FUNCTION guard_projector_position()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.projector_position FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER guard BEFORE DELETE OR UPDATE ON quorate.sender FOR EACH ROW EXECUTE FUNCTION guard_sender()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.sender FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER guard BEFORE INSERT OR DELETE OR UPDATE ON quorate.slot FOR EACH ROW EXECUTE FUNCTION guard_slot()
CREATE TRIGGER history AFTER INSERT OR UPDATE ON quorate.slot FOR EACH ROW EXECUTE FUNCTION record_slot_history()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.slot FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.slot_history FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.slot_history FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER former_slot AFTER UPDATE ON quorate.submission FOR EACH ROW WHEN (((old.nonce IS NOT NULL) AND (new.nonce IS NULL))) EXECUTE FUNCTION record_former_slot()
CREATE TRIGGER guard BEFORE INSERT OR DELETE OR UPDATE ON quorate.submission FOR EACH ROW EXECUTE FUNCTION guard_submission()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.submission FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.submission_archive FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.submission_archive FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.submission_former_slot FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.submission_former_slot FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON quorate.tombstone FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.tombstone FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
CREATE TRIGGER settled BEFORE INSERT OR UPDATE ON quorate.transaction_history FOR EACH ROW WHEN (((new.settled_at IS NULL) AND (new.status = ANY (ARRAY['CONFIRMED'::text, 'ABORTED_BYZANTINE'::text])))) EXECUTE FUNCTION note_settled()
CREATE TRIGGER write_once BEFORE UPDATE ON quorate.vote_history FOR EACH ROW EXECUTE FUNCTION refuse_change()
CREATE TRIGGER write_once BEFORE UPDATE ON quorate.vote_history_archive FOR EACH ROW EXECUTE FUNCTION refuse_change()

-- functions
CREATE OR REPLACE FUNCTION quorate.guard_attempt()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'quorate'
AS $function$
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
  $function$
CREATE OR REPLACE FUNCTION quorate.guard_projector_position()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
  $function$
CREATE OR REPLACE FUNCTION quorate.guard_sender()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
  $function$
CREATE OR REPLACE FUNCTION quorate.guard_slot()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'quorate'
AS $function$
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
  $function$
CREATE OR REPLACE FUNCTION quorate.guard_submission()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'quorate'
AS $function$
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
  $function$
CREATE OR REPLACE FUNCTION quorate.note_settled()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
  BEGIN
    NEW.settled_at := now();
    RETURN NEW;
  END
  $function$
CREATE OR REPLACE FUNCTION quorate.record_former_slot()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'quorate'
AS $function$
  BEGIN
    INSERT INTO submission_former_slot (tx_id, chain_id, sender, nonce)
      VALUES (OLD.tx_id, OLD.chain_id, OLD.sender, OLD.nonce);
    RETURN NULL;
  END
  $function$
CREATE OR REPLACE FUNCTION quorate.record_slot_history()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'quorate'
AS $function$
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
  $function$
CREATE OR REPLACE FUNCTION quorate.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
  BEGIN
    RAISE EXCEPTION '% of % is refused: rows are only ever added', TG_OP, TG_TABLE_NAME
      USING ERRCODE = 'QU002';
  END
  $function$
CREATE OR REPLACE FUNCTION quorate.slot_is_live(state text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ SELECT state IN ('RESERVED', 'SIGNED', 'INCLUDED') $function$
CREATE OR REPLACE FUNCTION quorate.slot_may_move(from_state text, to_state text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT from_state = to_state OR (from_state, to_state) IN (
      ('RESERVED', 'SIGNED'), ('RESERVED', 'FINALIZED_FOREIGN'),
      ('SIGNED', 'INCLUDED'), ('INCLUDED', 'SIGNED'),
      ('SIGNED', 'FINALIZED_OK'), ('SIGNED', 'FINALIZED_REVERTED'),
      ('SIGNED', 'FINALIZED_FOREIGN'), ('SIGNED', 'FINALIZED_CANCEL'),
      ('INCLUDED', 'FINALIZED_OK'), ('INCLUDED', 'FINALIZED_REVERTED'),
      ('INCLUDED', 'FINALIZED_FOREIGN'), ('INCLUDED', 'FINALIZED_CANCEL'))
  $function$
CREATE OR REPLACE FUNCTION quorate.submission_may_move(from_state text, to_state text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT from_state = to_state OR (from_state, to_state) IN (
      ('QUEUED', 'ASSIGNED'), ('QUEUED', 'FINALIZED'), ('QUEUED', 'ABORTED'), ('QUEUED', 'QUARANTINED'),
      ('ASSIGNED', 'INCLUDED'), ('ASSIGNED', 'QUEUED'), ('ASSIGNED', 'FINALIZED'), ('ASSIGNED', 'QUARANTINED'),
      ('INCLUDED', 'FINALIZED'), ('INCLUDED', 'ASSIGNED'), ('INCLUDED', 'QUARANTINED'),
      ('QUARANTINED', 'QUEUED'))
  $function$

-- views
VIEW blockchain_submissions AS
 SELECT s.tx_id,
    s.value,
        CASE s.state
            WHEN 'FINALIZED'::text THEN 'CONFIRMED'::text
            WHEN 'ABORTED'::text THEN 'ABORTED_BYZANTINE'::text
            ELSE 'PENDING'::text
        END AS state,
    s.nonce,
        CASE s.state
            WHEN 'FINALIZED'::text THEN s.finalized_tx
            ELSE COALESCE(l.receipt_hash, newest.hash)
        END AS tx_hash,
        CASE
            WHEN (l.state <> 'RESERVED'::text) THEN l.created_at
            ELSE NULL::timestamp with time zone
        END AS submitted_at,
    s.finalized_at AS confirmed_at,
        CASE s.state
            WHEN 'FINALIZED'::text THEN s.finalized_block
            ELSE l.block_number
        END AS block_number
   FROM ((submission s
     LEFT JOIN slot l ON ((((l.chain_id)::numeric = (s.chain_id)::numeric) AND (l.sender = s.sender) AND ((l.nonce)::numeric = (s.nonce)::numeric))))
     LEFT JOIN LATERAL ( SELECT a.hash
           FROM attempt a
          WHERE (((a.chain_id)::numeric = (l.chain_id)::numeric) AND (a.sender = l.sender) AND ((a.nonce)::numeric = (l.nonce)::numeric))
          ORDER BY a.seq DESC
         LIMIT 1) newest ON (true))
UNION ALL
 SELECT t.tx_id,
    t.value,
    'ABORTED_BYZANTINE'::text AS state,
    NULL::numeric AS nonce,
    NULL::bytea AS tx_hash,
    NULL::timestamp with time zone AS submitted_at,
    NULL::timestamp with time zone AS confirmed_at,
    NULL::numeric AS block_number
   FROM transaction_history t
  WHERE ((t.status = 'ABORTED_BYZANTINE'::text) AND (NOT (EXISTS ( SELECT 1
           FROM submission s
          WHERE (s.tx_id = t.tx_id)))));
VIEW blockchain_submissions_archive AS
 SELECT s.tx_id,
    s.value,
    'CONFIRMED'::text AS state,
    s.nonce,
    s.finalized_tx AS tx_hash,
    l.created_at AS submitted_at,
    s.finalized_at AS confirmed_at,
    s.finalized_block AS block_number
   FROM (submission_archive s
     LEFT JOIN slot l ON ((((l.chain_id)::numeric = (s.chain_id)::numeric) AND (l.sender = s.sender) AND ((l.nonce)::numeric = (s.nonce)::numeric))));
