-- Keys of data subjects: one person's cards under one person's key, so that destroying the key ends
-- them wherever a copy of them lies. subject: the first 128 bits of a keyed hash of the merchant's
-- own reference; the reference itself is never stored.

CREATE TABLE keys.subject_key (
    merchant_id uuid NOT NULL,
    subject uuid NOT NULL,
    version int NOT NULL CHECK (version >= 1),
    id uuid NOT NULL UNIQUE,
    kek_id uuid NOT NULL REFERENCES keys.kek (id),
    algorithm text NOT NULL CHECK (algorithm = 'A256GCM'),
    wrapped bytea CHECK (octet_length(wrapped) BETWEEN 40 AND 1024),
    kcv bytea NOT NULL CHECK (octet_length(kcv) = 16),
    state text NOT NULL
        CHECK (state IN ('pre_active', 'active', 'decrypt_only', 'compromised', 'destroyed')),
    reserved bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    revision int NOT NULL CHECK (revision >= 1),
    state_at timestamptz NOT NULL,
    signature bytea CHECK (octet_length(signature) = 64),
    destroyed_by text,
    destroyed_reason text,
    destroyed_request text,
    cards_removed int,
    PRIMARY KEY (merchant_id, subject, version),
    CONSTRAINT subject_key_usage_limit CHECK (reserved BETWEEN 0 AND 4294967296),
    CONSTRAINT subject_key_whole_or_gone CHECK (
        CASE WHEN state = 'destroyed'
            THEN wrapped IS NULL
                AND num_nonnulls(destroyed_by, destroyed_reason, cards_removed) = 3
            ELSE wrapped IS NOT NULL
                AND num_nonnulls(destroyed_by, destroyed_reason, cards_removed) = 0
        END)
) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0);
-- Wrapped bytes of a destroyed key leave with the dead row: vacuum comes at once.
CREATE INDEX subject_key_by_kek ON keys.subject_key (kek_id, id);
CREATE INDEX subject_key_destroyed ON keys.subject_key (state_at) WHERE state = 'destroyed';
COMMENT ON TABLE keys.subject_key IS 'Data-encryption keys of data subjects. A destroyed key keeps its row without the wrapped bytes.';
COMMENT ON COLUMN keys.subject_key.merchant_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.subject IS 'class=personal retention=forever keyed hash of the merchant''s reference';
COMMENT ON COLUMN keys.subject_key.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.kek_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.algorithm IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.wrapped IS 'class=secret retention=key-lifetime';
COMMENT ON COLUMN keys.subject_key.kcv IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.subject_key.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.reserved IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.revision IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.created_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.state_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.signature IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.destroyed_by IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.subject_key.destroyed_reason IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.subject_key.destroyed_request IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.subject_key.cards_removed IS 'class=internal retention=forever';

-- The shred ledger inside the database: the signed receipts, insert only.
CREATE TABLE keys.shred (
    merchant_id uuid NOT NULL,
    subject uuid NOT NULL,
    version int NOT NULL CHECK (version >= 1),
    id uuid NOT NULL UNIQUE,
    receipt bytea NOT NULL CHECK (octet_length(receipt) BETWEEN 2 AND 16384),
    signature bytea NOT NULL CHECK (octet_length(signature) = 64),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, subject, version)
);
COMMENT ON TABLE keys.shred IS 'Receipts of destroyed subject keys, each for the highest version that was destroyed.';
COMMENT ON COLUMN keys.shred.merchant_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.shred.subject IS 'class=personal retention=forever keyed hash of the merchant''s reference';
COMMENT ON COLUMN keys.shred.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.shred.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.shred.receipt IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.shred.signature IS 'class=public retention=forever';
COMMENT ON COLUMN keys.shred.created_at IS 'class=internal retention=forever';

GRANT SELECT, INSERT ON keys.subject_key, keys.shred TO strongroom_vault;
GRANT UPDATE (kek_id, wrapped, state, reserved, revision, state_at, signature, destroyed_by,
    destroyed_reason, destroyed_request, cards_removed) ON keys.subject_key TO strongroom_vault;

-- What is destroyed stays destroyed, whoever tries; what a key is never changes; every change of its
-- record is a new revision. An active key of a person may be destroyed at once, other than keys whose
-- rows have to move on first.
CREATE FUNCTION keys.refuse_wrong_turn_of_subject() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'destroyed' THEN
        RAISE EXCEPTION 'keys.subject_key: a destroyed key never changes again'
            USING ERRCODE = 'integrity_constraint_violation',
                CONSTRAINT = 'subject_key_stays_destroyed';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'keys.subject_key: a key is destroyed, never deleted'
            USING ERRCODE = 'integrity_constraint_violation',
                CONSTRAINT = 'subject_key_is_not_deleted';
    END IF;
    IF (NEW.merchant_id, NEW.subject, NEW.id, NEW.version, NEW.algorithm, NEW.kcv, NEW.created_at)
        <> (OLD.merchant_id, OLD.subject, OLD.id, OLD.version, OLD.algorithm, OLD.kcv,
            OLD.created_at) THEN
        RAISE EXCEPTION 'keys.subject_key: what a key is never changes'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'key_identity_is_fixed';
    END IF;
    IF NEW.state <> OLD.state AND NEW.state NOT IN ('decrypt_only', 'compromised', 'destroyed') THEN
        RAISE EXCEPTION 'keys.subject_key: % does not become %', OLD.state, NEW.state
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'key_state_goes_forward';
    END IF;
    IF NEW.revision <> OLD.revision + 1 THEN
        RAISE EXCEPTION 'keys.subject_key: a change is a new revision'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'key_revision_counts';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER subject_key_goes_forward
    BEFORE UPDATE OF merchant_id, subject, version, id, kek_id, algorithm, wrapped, kcv, state,
        created_at, revision, state_at, signature ON keys.subject_key
    FOR EACH ROW EXECUTE FUNCTION keys.refuse_wrong_turn_of_subject();
CREATE TRIGGER subject_key_is_not_deleted BEFORE DELETE ON keys.subject_key
    FOR EACH ROW EXECUTE FUNCTION keys.refuse_wrong_turn_of_subject();
