-- The journal: entries that are never changed, the batches they were committed in, and the Merkle
-- tree over them (RFC 6962 hashes in C2SP tlog-tiles form) with its signed checkpoints.
--
-- Writers (strongroom_pay, strongroom_vault) add entries and batches in the transaction of what
-- they tell. Only the sequencer (strongroom_journal) gives batches their place and writes tiles
-- and checkpoints. Grants say so, and triggers hold even the owner to it; whoever is superuser can
-- switch a trigger off, and `strongroom journal verify` then finds what was changed.

CREATE TABLE journal.entry (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    batch_id uuid NOT NULL,
    n int NOT NULL,
    at timestamptz NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (merchant_id, id)
);
CREATE UNIQUE INDEX entry_batch_n ON journal.entry (batch_id, n);
CREATE INDEX entry_subject ON journal.entry (subject, id);
COMMENT ON TABLE journal.entry IS 'What happened. Append-only; `body` is the leaf of the tree, the other columns only find it.';
COMMENT ON COLUMN journal.entry.merchant_id IS 'class=internal retention=journal all zero: the installation itself';
COMMENT ON COLUMN journal.entry.id IS 'class=internal retention=journal';
COMMENT ON COLUMN journal.entry.batch_id IS 'class=internal retention=journal';
COMMENT ON COLUMN journal.entry.n IS 'class=internal retention=journal place within the batch; may have gaps';
COMMENT ON COLUMN journal.entry.at IS 'class=internal retention=journal';
COMMENT ON COLUMN journal.entry.action IS 'class=internal retention=journal room:subject:verb';
COMMENT ON COLUMN journal.entry.subject IS 'class=internal retention=journal';
COMMENT ON COLUMN journal.entry.body IS 'class=confidential retention=journal canonical JSON (RFC 8785)';

CREATE TABLE journal.batch (
    id uuid PRIMARY KEY,
    first_index bigint CHECK (first_index >= 0),
    size int CHECK (size >= 0),
    CHECK ((first_index IS NULL) = (size IS NULL))
);
CREATE INDEX batch_unsequenced ON journal.batch (id) WHERE first_index IS NULL;
CREATE UNIQUE INDEX batch_first_index ON journal.batch (first_index) WHERE size > 0;
COMMENT ON TABLE journal.batch IS 'One row for each committed group of Changes; the sequencer gives it its place in the tree once.';
COMMENT ON COLUMN journal.batch.id IS 'class=internal retention=journal UUIDv7 of the commit';
COMMENT ON COLUMN journal.batch.first_index IS 'class=internal retention=journal null until sequenced';
COMMENT ON COLUMN journal.batch.size IS 'class=internal retention=journal null until sequenced';

CREATE TABLE journal.tile (
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 63),
    tile_index bigint NOT NULL CHECK (tile_index >= 0),
    hashes bytea NOT NULL
        CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
    PRIMARY KEY (level, tile_index)
);
-- Hashes do not compress; trying costs time on every write.
ALTER TABLE journal.tile ALTER COLUMN hashes SET STORAGE EXTERNAL;
COMMENT ON TABLE journal.tile IS 'Hash tiles of the tree (C2SP tlog-tiles, height 8). A tile only ever grows at its end.';
COMMENT ON COLUMN journal.tile.level IS 'class=public retention=journal';
COMMENT ON COLUMN journal.tile.tile_index IS 'class=public retention=journal';
COMMENT ON COLUMN journal.tile.hashes IS 'class=public retention=journal 32 bytes for each hash';

CREATE TABLE journal.checkpoint (
    size bigint PRIMARY KEY CHECK (size >= 0),
    previous bigint REFERENCES journal.checkpoint (size),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    note text NOT NULL,
    at timestamptz NOT NULL,
    CHECK (previous < size)
);
-- Each checkpoint follows exactly one other and is followed by at most one: two sequencers that
-- both went on from the same checkpoint cannot both commit.
CREATE UNIQUE INDEX checkpoint_follows_once ON journal.checkpoint (previous) NULLS NOT DISTINCT;
COMMENT ON TABLE journal.checkpoint IS 'Every signed statement of size and root (C2SP tlog-checkpoint), a chain without forks.';
COMMENT ON COLUMN journal.checkpoint.size IS 'class=public retention=journal';
COMMENT ON COLUMN journal.checkpoint.previous IS 'class=public retention=journal the size it extends; null for the first';
COMMENT ON COLUMN journal.checkpoint.root IS 'class=public retention=journal';
COMMENT ON COLUMN journal.checkpoint.note IS 'class=public retention=journal C2SP signed note';
COMMENT ON COLUMN journal.checkpoint.at IS 'class=public retention=journal';

CREATE FUNCTION journal.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'journal.% is append-only: % refused', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'journal_append_only';
END
$$;

CREATE FUNCTION journal.sequence_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.first_index IS NOT NULL OR NEW.first_index IS NULL OR NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'journal.batch: a batch gets its place once'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'journal_append_only';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION journal.grow_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.level <> OLD.level OR NEW.tile_index <> OLD.tile_index
        OR octet_length(NEW.hashes) < octet_length(OLD.hashes)
        OR substring(NEW.hashes FROM 1 FOR octet_length(OLD.hashes)) <> OLD.hashes THEN
        RAISE EXCEPTION 'journal.tile: a tile only grows at its end'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'journal_append_only';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal.entry
    FOR EACH STATEMENT EXECUTE FUNCTION journal.refuse_change();
CREATE TRIGGER checkpoint_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal.checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION journal.refuse_change();
CREATE TRIGGER batch_kept BEFORE DELETE OR TRUNCATE ON journal.batch
    FOR EACH STATEMENT EXECUTE FUNCTION journal.refuse_change();
CREATE TRIGGER batch_sequenced_once BEFORE UPDATE ON journal.batch
    FOR EACH ROW EXECUTE FUNCTION journal.sequence_once();
CREATE TRIGGER tile_kept BEFORE DELETE OR TRUNCATE ON journal.tile
    FOR EACH STATEMENT EXECUTE FUNCTION journal.refuse_change();
CREATE TRIGGER tile_grows BEFORE UPDATE ON journal.tile
    FOR EACH ROW EXECUTE FUNCTION journal.grow_only();

GRANT SELECT ON journal.entry, journal.batch, journal.tile, journal.checkpoint
    TO strongroom_pay, strongroom_vault, strongroom_journal, strongroom_read;
GRANT INSERT ON journal.entry TO strongroom_pay, strongroom_vault;
GRANT INSERT (id) ON journal.batch TO strongroom_pay, strongroom_vault;
GRANT UPDATE (first_index, size) ON journal.batch TO strongroom_journal;
GRANT INSERT ON journal.tile, journal.checkpoint TO strongroom_journal;
GRANT UPDATE (hashes) ON journal.tile TO strongroom_journal;
