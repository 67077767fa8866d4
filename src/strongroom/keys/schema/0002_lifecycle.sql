-- The life cycle of keys: signed records, states that only go forward, a manifest that shows when
-- rows were exchanged or brought back, and the jobs of online rotation.

-- Every key record carries its revision, the time of its state and an Ed25519 signature over all of
-- it, made by the record-signing key (keys.kek, purpose 'records'), which lies under the root itself.
ALTER TABLE keys.kek ADD COLUMN revision int NOT NULL DEFAULT 1 CHECK (revision >= 1);
ALTER TABLE keys.kek ADD COLUMN state_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE keys.kek ADD COLUMN signature bytea CHECK (octet_length(signature) = 64);
ALTER TABLE keys.dek ADD COLUMN revision int NOT NULL DEFAULT 1 CHECK (revision >= 1);
ALTER TABLE keys.dek ADD COLUMN state_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE keys.dek ADD COLUMN signature bytea CHECK (octet_length(signature) = 64);
ALTER TABLE keys.index_key ADD COLUMN revision int NOT NULL DEFAULT 1 CHECK (revision >= 1);
ALTER TABLE keys.index_key ADD COLUMN state_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE keys.index_key ADD COLUMN signature bytea CHECK (octet_length(signature) = 64);
ALTER TABLE keys.service_key ADD COLUMN revision int NOT NULL DEFAULT 1 CHECK (revision >= 1);
ALTER TABLE keys.service_key ADD COLUMN state_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE keys.service_key ADD COLUMN signature bytea CHECK (octet_length(signature) = 64);

COMMENT ON COLUMN keys.kek.revision IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.state_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.kek.signature IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.revision IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.state_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.dek.signature IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.revision IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.state_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.index_key.signature IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.revision IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.state_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.service_key.signature IS 'class=internal retention=forever';

-- Purposes and algorithms are the code's to name; what a key is for stands in its signed record.
ALTER TABLE keys.kek DROP CONSTRAINT kek_purpose_check;
ALTER TABLE keys.kek ADD CONSTRAINT kek_purpose_check CHECK (purpose ~ '^[a-z][a-z0-9-]{0,39}$');
ALTER TABLE keys.kek DROP CONSTRAINT kek_algorithm_check;
ALTER TABLE keys.kek ADD CONSTRAINT kek_algorithm_check
    CHECK (algorithm = CASE purpose WHEN 'records' THEN 'Ed25519' ELSE 'A256GCM' END);
ALTER TABLE keys.service_key DROP CONSTRAINT service_key_purpose_check;
ALTER TABLE keys.service_key ADD CONSTRAINT service_key_purpose_check
    CHECK (purpose ~ '^[a-z][a-z0-9-]{0,39}$');
ALTER TABLE keys.service_key DROP CONSTRAINT service_key_algorithm_check;
ALTER TABLE keys.service_key ADD CONSTRAINT service_key_algorithm_check
    CHECK (algorithm ~ '^[A-Za-z0-9+-]{1,40}$');

-- A destroyed key has no bytes left.
ALTER TABLE keys.kek DROP CONSTRAINT kek_state_check, ALTER COLUMN wrapped DROP NOT NULL;
ALTER TABLE keys.kek ADD CONSTRAINT kek_state_check
    CHECK (state IN ('pre_active', 'active', 'decrypt_only', 'compromised', 'destroyed'));
ALTER TABLE keys.kek ADD CONSTRAINT kek_destroyed_is_gone
    CHECK ((wrapped IS NULL) = (state = 'destroyed'));
ALTER TABLE keys.dek DROP CONSTRAINT dek_state_check, ALTER COLUMN wrapped DROP NOT NULL;
ALTER TABLE keys.dek ADD CONSTRAINT dek_state_check
    CHECK (state IN ('pre_active', 'active', 'decrypt_only', 'compromised', 'destroyed'));
ALTER TABLE keys.dek ADD CONSTRAINT dek_destroyed_is_gone
    CHECK ((wrapped IS NULL) = (state = 'destroyed'));
ALTER TABLE keys.index_key DROP CONSTRAINT index_key_state_check, ALTER COLUMN wrapped DROP NOT NULL;
ALTER TABLE keys.index_key ADD CONSTRAINT index_key_state_check
    CHECK (state IN ('pre_active', 'active', 'decrypt_only', 'compromised', 'destroyed'));
ALTER TABLE keys.index_key ADD CONSTRAINT index_key_destroyed_is_gone
    CHECK ((wrapped IS NULL) = (state = 'destroyed'));
ALTER TABLE keys.service_key DROP CONSTRAINT service_key_state_check, ALTER COLUMN wrapped DROP NOT NULL;
ALTER TABLE keys.service_key ADD CONSTRAINT service_key_state_check
    CHECK (state IN ('pre_active', 'active', 'decrypt_only', 'compromised', 'destroyed'));
ALTER TABLE keys.service_key ADD CONSTRAINT service_key_destroyed_is_gone
    CHECK ((wrapped IS NULL) = (state = 'destroyed'));

-- The key of what leaves the vault: fingerprints that callers see and commitments of idempotency. It
-- does not change with the index key (docs/decisions/0012).
CREATE TABLE keys.visible_key (
    merchant_id uuid NOT NULL,
    version int NOT NULL CHECK (version >= 1),
    id uuid NOT NULL UNIQUE,
    kek_id uuid NOT NULL REFERENCES keys.kek (id),
    algorithm text NOT NULL CHECK (algorithm = 'HS256'),
    wrapped bytea CHECK (octet_length(wrapped) BETWEEN 40 AND 1024),
    kcv bytea NOT NULL CHECK (octet_length(kcv) = 16),
    state text NOT NULL
        CHECK (state IN ('pre_active', 'active', 'decrypt_only', 'compromised', 'destroyed')),
    created_at timestamptz NOT NULL,
    revision int NOT NULL CHECK (revision >= 1),
    state_at timestamptz NOT NULL,
    signature bytea CHECK (octet_length(signature) = 64),
    PRIMARY KEY (merchant_id, version),
    CONSTRAINT visible_key_destroyed_is_gone CHECK ((wrapped IS NULL) = (state = 'destroyed'))
);
COMMENT ON TABLE keys.visible_key IS 'Keys of what leaves the vault keyed: visible fingerprints and commitments. Made at the first rotation of a merchant''s index key; until then that key serves.';
COMMENT ON COLUMN keys.visible_key.merchant_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.version IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.kek_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.algorithm IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.wrapped IS 'class=secret retention=key-lifetime';
COMMENT ON COLUMN keys.visible_key.kcv IS 'class=confidential retention=forever';
COMMENT ON COLUMN keys.visible_key.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.created_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.revision IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.state_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.visible_key.signature IS 'class=internal retention=forever';

CREATE TABLE keys.manifest (
    id int PRIMARY KEY CHECK (id = 1),
    seq int NOT NULL CHECK (seq >= 1),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    signed_at timestamptz NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64)
);
COMMENT ON TABLE keys.manifest IS 'One signed row: which revisions the installation''s keys have and which keys were revoked. seq goes up with every change; processes re-read their keys when it does.';
COMMENT ON COLUMN keys.manifest.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.manifest.seq IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.manifest.digest IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.manifest.signed_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.manifest.signature IS 'class=internal retention=forever';

CREATE TABLE keys.revocation (
    key_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('compromised', 'destroyed')),
    at timestamptz NOT NULL,
    PRIMARY KEY (key_id, state)
);
COMMENT ON TABLE keys.revocation IS 'Keys that were compromised or destroyed, for good: a row brought back from before does not revive one.';
COMMENT ON COLUMN keys.revocation.key_id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.revocation.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.revocation.at IS 'class=internal retention=forever';

CREATE TABLE keys.rotation_job (
    id uuid PRIMARY KEY,
    level text NOT NULL CHECK (level IN ('root', 'kek', 'dek', 'index')),
    owner uuid,
    open_target text UNIQUE,
    state text NOT NULL CHECK (state IN ('open', 'paused', 'done', 'canceled')),
    reason text NOT NULL CHECK (length(reason) <= 200),
    rate int NOT NULL CHECK (rate >= 0),
    phase text NOT NULL,
    place bytea,
    total bigint NOT NULL DEFAULT 0 CHECK (total >= 0),
    done bigint NOT NULL DEFAULT 0 CHECK (done >= 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    lease_owner uuid,
    lease_until timestamptz,
    problem text,
    version int NOT NULL DEFAULT 1,
    CONSTRAINT rotation_open_has_target CHECK ((open_target IS NULL) = (state IN ('done', 'canceled')))
);
COMMENT ON TABLE keys.rotation_job IS 'Online rotations. open_target is unique: one open job for each target. owner: the merchant whose keys rotate, null for all. place: how far it came, so that a killed job goes on there.';
COMMENT ON COLUMN keys.rotation_job.id IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.level IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.owner IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.open_target IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.state IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.reason IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.rate IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.phase IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.place IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.total IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.done IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.created_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.updated_at IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.lease_owner IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.lease_until IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.problem IS 'class=internal retention=forever';
COMMENT ON COLUMN keys.rotation_job.version IS 'class=internal retention=forever';
CREATE INDEX dek_by_kek ON keys.dek (kek_id, id);
CREATE INDEX index_key_by_kek ON keys.index_key (kek_id, id);
CREATE INDEX visible_key_by_kek ON keys.visible_key (kek_id, id);

-- States go forward only, and nothing of a record changes without a new revision and signature.
CREATE FUNCTION keys.refuse_wrong_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.version <> OLD.version OR NEW.algorithm <> OLD.algorithm
        OR NEW.kcv <> OLD.kcv OR NEW.created_at <> OLD.created_at THEN
        RAISE EXCEPTION 'keys.%: what a key is never changes', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'key_identity_is_fixed';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('pre_active', 'active'), ('pre_active', 'compromised'), ('pre_active', 'destroyed'),
        ('active', 'decrypt_only'), ('active', 'compromised'),
        ('decrypt_only', 'compromised'), ('decrypt_only', 'destroyed'),
        ('compromised', 'destroyed')) THEN
        RAISE EXCEPTION 'keys.%: % does not become %', TG_TABLE_NAME, OLD.state, NEW.state
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'key_state_goes_forward';
    END IF;
    IF OLD.signature IS NOT NULL AND NEW.revision <> OLD.revision + 1 THEN
        RAISE EXCEPTION 'keys.%: a change is a new revision', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'key_revision_counts';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER kek_goes_forward BEFORE UPDATE ON keys.kek
    FOR EACH ROW EXECUTE FUNCTION keys.refuse_wrong_turn();
CREATE TRIGGER dek_goes_forward
    BEFORE UPDATE OF merchant_id, version, id, kek_id, algorithm, wrapped, kcv, state, created_at,
        revision, state_at, signature ON keys.dek
    FOR EACH ROW EXECUTE FUNCTION keys.refuse_wrong_turn();
CREATE TRIGGER index_key_goes_forward BEFORE UPDATE ON keys.index_key
    FOR EACH ROW EXECUTE FUNCTION keys.refuse_wrong_turn();
CREATE TRIGGER service_key_goes_forward BEFORE UPDATE ON keys.service_key
    FOR EACH ROW EXECUTE FUNCTION keys.refuse_wrong_turn();
CREATE TRIGGER visible_key_goes_forward BEFORE UPDATE ON keys.visible_key
    FOR EACH ROW EXECUTE FUNCTION keys.refuse_wrong_turn();

REVOKE UPDATE (state) ON keys.kek, keys.dek, keys.index_key, keys.service_key FROM strongroom_vault;
GRANT UPDATE (root_id, wrapped, state, state_at, revision, signature) ON keys.kek
    TO strongroom_vault;
GRANT UPDATE (kek_id, wrapped, state, state_at, revision, signature)
    ON keys.dek, keys.index_key, keys.service_key, keys.visible_key TO strongroom_vault;
GRANT SELECT, INSERT ON keys.visible_key, keys.manifest, keys.revocation, keys.rotation_job
    TO strongroom_vault;
GRANT UPDATE (seq, digest, signed_at, signature) ON keys.manifest TO strongroom_vault;
GRANT UPDATE (open_target, state, rate, phase, place, total, done, updated_at, lease_owner,
    lease_until, problem, version) ON keys.rotation_job TO strongroom_vault;
