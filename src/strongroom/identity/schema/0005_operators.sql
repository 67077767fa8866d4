-- The people who run the installation: accounts, passkeys, passwords, one-time codes, sessions.
-- Nothing here lets anybody in: tokens stand as keyed hashes, passwords as Argon2id, the secrets of
-- one-time codes sealed by the vault's keys.
CREATE TABLE iam.operator (
    operator_id uuid PRIMARY KEY,
    login text NOT NULL CHECK (char_length(login) BETWEEN 3 AND 64),
    skeleton text NOT NULL CHECK (char_length(skeleton) BETWEEN 1 AND 64),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    role text NOT NULL CHECK (role IN ('operator-read', 'operator-admin')),
    status text NOT NULL CHECK (status IN ('invited', 'active', 'recovering', 'disabled', 'left')),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    sessions_from timestamptz NOT NULL,
    factors_from timestamptz NOT NULL,
    invite_hash bytea CHECK (octet_length(invite_hash) = 32),
    invite_until timestamptz,
    one_time_sealed bytea CHECK (octet_length(one_time_sealed) BETWEEN 40 AND 512),
    one_time_at timestamptz,
    version int NOT NULL CHECK (version >= 1),
    CONSTRAINT operator_login_key UNIQUE (login),
    CONSTRAINT operator_skeleton_key UNIQUE (skeleton),
    CONSTRAINT operator_invite_key UNIQUE (invite_hash),
    CONSTRAINT operator_invite_ends CHECK ((invite_hash IS NULL) = (invite_until IS NULL)),
    CONSTRAINT operator_one_time_dated CHECK ((one_time_sealed IS NULL) = (one_time_at IS NULL))
);
COMMENT ON TABLE iam.operator IS 'One account for each person who runs the installation; never deleted, because the journal names them.';
COMMENT ON COLUMN iam.operator.operator_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator.login IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.operator.skeleton IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.operator.name IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.operator.role IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator.status IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator.created_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator.sessions_from IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator.factors_from IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator.invite_hash IS 'class=secret retention=72h';
COMMENT ON COLUMN iam.operator.invite_until IS 'class=internal retention=72h';
COMMENT ON COLUMN iam.operator.one_time_sealed IS 'class=secret retention=journal';
COMMENT ON COLUMN iam.operator.one_time_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator.version IS 'class=internal retention=journal';

-- Apart from operator, so that noting a use never touches the row that a leave guards.
CREATE TABLE iam.operator_use (
    operator_id uuid PRIMARY KEY,
    seen_at timestamptz
);
COMMENT ON TABLE iam.operator_use IS 'When a person last signed in.';
COMMENT ON COLUMN iam.operator_use.operator_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_use.seen_at IS 'class=internal retention=journal';

-- Who administers cannot become nobody, whoever else is seen off at the same moment: changes that
-- take an administrator away wait for each other, and the last one is refused.
CREATE FUNCTION iam.keep_an_administrator() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('iam.operator_admin', 0));
    IF NOT EXISTS (SELECT 1 FROM iam.operator
        WHERE role = 'operator-admin' AND status IN ('active', 'recovering')) THEN
        RAISE EXCEPTION 'the last administrator stays'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'operator_admin_last';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER operator_admin_last AFTER UPDATE OF role, status ON iam.operator
    FOR EACH ROW WHEN (OLD.role = 'operator-admin' AND OLD.status IN ('active', 'recovering')
        AND NOT (NEW.role = 'operator-admin' AND NEW.status IN ('active', 'recovering')))
    EXECUTE FUNCTION iam.keep_an_administrator();

CREATE TABLE iam.operator_passkey (
    id uuid PRIMARY KEY,
    operator_id uuid NOT NULL,
    credential_id bytea NOT NULL CHECK (octet_length(credential_id) BETWEEN 16 AND 1023),
    public_key bytea NOT NULL CHECK (octet_length(public_key) BETWEEN 32 AND 1024),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    sign_count bigint NOT NULL CHECK (sign_count >= 0),
    backup_eligible boolean NOT NULL,
    backed_up boolean NOT NULL,
    aaguid text NOT NULL CHECK (char_length(aaguid) <= 36),
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    ended_at timestamptz,
    ended_reason text CHECK (ended_reason IN ('removed', 'cloned')),
    version int NOT NULL CHECK (version >= 1),
    CONSTRAINT operator_passkey_credential_key UNIQUE (credential_id)
);
CREATE INDEX operator_passkey_operator ON iam.operator_passkey (operator_id);
COMMENT ON TABLE iam.operator_passkey IS 'Passkeys (WebAuthn public keys). A credential belongs to one person, for ever.';
COMMENT ON COLUMN iam.operator_passkey.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.operator_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.credential_id IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.operator_passkey.public_key IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.operator_passkey.name IS 'class=personal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.sign_count IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.backup_eligible IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.backed_up IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.aaguid IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.used_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.ended_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.ended_reason IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_passkey.version IS 'class=internal retention=journal';

-- Former passwords stay, so that the last four are not taken again (PCI DSS 8.3.7).
CREATE TABLE iam.operator_password (
    operator_id uuid NOT NULL,
    id uuid NOT NULL,
    hash text NOT NULL CHECK (hash LIKE '$argon2id$%' AND char_length(hash) <= 256),
    set_at timestamptz NOT NULL,
    PRIMARY KEY (operator_id, id)
);
COMMENT ON TABLE iam.operator_password IS 'Passwords as Argon2id; the newest is the one that counts, and only with a one-time code.';
COMMENT ON COLUMN iam.operator_password.operator_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_password.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_password.hash IS 'class=secret retention=journal';
COMMENT ON COLUMN iam.operator_password.set_at IS 'class=internal retention=journal';

CREATE TABLE iam.operator_session (
    id uuid PRIMARY KEY,
    operator_id uuid NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    device bytea NOT NULL CHECK (octet_length(device) = 32),
    method text NOT NULL CHECK (method IN ('passkey', 'password', 'oidc')),
    aal int NOT NULL CHECK (aal BETWEEN 1 AND 3),
    mfa_at timestamptz,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ended_at timestamptz,
    version int NOT NULL CHECK (version >= 1),
    CONSTRAINT operator_session_hash_key UNIQUE (hash)
);
CREATE INDEX operator_session_operator ON iam.operator_session (operator_id, device);
COMMENT ON TABLE iam.operator_session IS 'Sessions of operators: token and device as keyed hashes.';
COMMENT ON COLUMN iam.operator_session.id IS 'class=internal retention=90d';
COMMENT ON COLUMN iam.operator_session.operator_id IS 'class=internal retention=90d';
COMMENT ON COLUMN iam.operator_session.hash IS 'class=secret retention=90d';
COMMENT ON COLUMN iam.operator_session.device IS 'class=secret retention=90d';
COMMENT ON COLUMN iam.operator_session.method IS 'class=internal retention=90d';
COMMENT ON COLUMN iam.operator_session.aal IS 'class=internal retention=90d';
COMMENT ON COLUMN iam.operator_session.mfa_at IS 'class=internal retention=90d';
COMMENT ON COLUMN iam.operator_session.started_at IS 'class=internal retention=90d';
COMMENT ON COLUMN iam.operator_session.seen_at IS 'class=internal retention=90d';
COMMENT ON COLUMN iam.operator_session.ended_at IS 'class=internal retention=90d';
COMMENT ON COLUMN iam.operator_session.version IS 'class=internal retention=90d';

-- Tries with a password or a code, counted for logins that exist and for those that do not alike.
CREATE TABLE iam.operator_try (
    bucket bytea PRIMARY KEY CHECK (octet_length(bucket) = 32),
    tries int NOT NULL CHECK (tries >= 1),
    last_at timestamptz NOT NULL
);
CREATE INDEX operator_try_last ON iam.operator_try (last_at);
COMMENT ON TABLE iam.operator_try IS 'Failed tries of the last half hour by keyed hash of login and device, or of a source.';
COMMENT ON COLUMN iam.operator_try.bucket IS 'class=internal retention=1h';
COMMENT ON COLUMN iam.operator_try.tries IS 'class=internal retention=1h';
COMMENT ON COLUMN iam.operator_try.last_at IS 'class=internal retention=1h';

CREATE TABLE iam.operator_recovery (
    id uuid PRIMARY KEY,
    operator_id uuid NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 100),
    until timestamptz NOT NULL,
    approved_by text,
    approved_at timestamptz,
    CONSTRAINT operator_recovery_two CHECK (approved_by IS NULL OR approved_by <> asked_by OR
        (approved_by LIKE 'local:%' AND asked_by LIKE 'local:%')),
    CONSTRAINT operator_recovery_dated CHECK ((approved_by IS NULL) = (approved_at IS NULL))
);
CREATE INDEX operator_recovery_operator ON iam.operator_recovery (operator_id);
COMMENT ON TABLE iam.operator_recovery IS 'New enrollments that two other administrators allowed.';
COMMENT ON COLUMN iam.operator_recovery.id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_recovery.operator_id IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_recovery.asked_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_recovery.asked_at IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_recovery.reason IS 'class=confidential retention=journal';
COMMENT ON COLUMN iam.operator_recovery.until IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_recovery.approved_by IS 'class=internal retention=journal';
COMMENT ON COLUMN iam.operator_recovery.approved_at IS 'class=internal retention=journal';

-- Login, name and keys of an account are fixed when they are made; counters cannot be taken away.
GRANT SELECT, INSERT ON iam.operator, iam.operator_use, iam.operator_passkey,
    iam.operator_password, iam.operator_session, iam.operator_try,
    iam.operator_recovery TO strongroom_pay;
GRANT UPDATE (role, status, sessions_from, factors_from, invite_hash, invite_until,
    one_time_sealed, one_time_at, version) ON iam.operator TO strongroom_pay;
GRANT UPDATE (seen_at) ON iam.operator_use TO strongroom_pay;
GRANT UPDATE (sign_count, backed_up, used_at, ended_at, ended_reason, version)
    ON iam.operator_passkey TO strongroom_pay;
GRANT UPDATE (hash, aal, mfa_at, seen_at, ended_at, version) ON iam.operator_session TO strongroom_pay;
GRANT UPDATE (tries, last_at) ON iam.operator_try TO strongroom_pay;
GRANT UPDATE (approved_by, approved_at) ON iam.operator_recovery TO strongroom_pay;
GRANT DELETE ON iam.operator_try, iam.operator_session TO strongroom_pay;

GRANT SELECT ON iam.operator_use, iam.operator_recovery TO strongroom_read;
GRANT SELECT (operator_id, login, name, role, status, created_at, created_by,
    sessions_from, factors_from, one_time_at, version) ON iam.operator TO strongroom_read;
GRANT SELECT (id, operator_id, name, sign_count, backup_eligible, backed_up, aaguid, created_at,
    used_at, ended_at, ended_reason, version) ON iam.operator_passkey TO strongroom_read;
GRANT SELECT (id, operator_id, method, aal, mfa_at, started_at, seen_at, ended_at, version)
    ON iam.operator_session TO strongroom_read;
