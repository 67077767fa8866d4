-- Tokens for one payment, tokens that look like digits, and what reveals are paid from.

-- Single-use tokens: used_by is a digest of the one occasion that got it.
ALTER TABLE vault.card ADD COLUMN single_use boolean NOT NULL DEFAULT false;
ALTER TABLE vault.card ADD COLUMN used_at timestamptz;
ALTER TABLE vault.card ADD COLUMN used_by bytea CHECK (octet_length(used_by) = 16);
ALTER TABLE vault.card ADD CONSTRAINT card_used_once CHECK (
    num_nonnulls(used_at, used_by) IN (0, 2) AND (used_at IS NULL OR single_use)
    AND NOT (single_use AND saved));
COMMENT ON COLUMN vault.card.single_use IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.used_at IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.card.used_by IS 'class=internal retention=token-lifetime digest of the occasion';
GRANT UPDATE (used_at, used_by) ON vault.card TO strongroom_vault;

-- Aliases of digits. The end that a caller sees may be the card's own: it stands here as ****, whole
-- only in sealed_display, so that nothing of a card number is in clear.
CREATE TABLE vault.alias (
    merchant_id uuid NOT NULL,
    alias text NOT NULL CHECK (alias ~ '^9([0-9]{11,18}|[0-9]{7,14}[*]{4})$'),
    card_id uuid NOT NULL,
    PRIMARY KEY (merchant_id, alias),
    FOREIGN KEY (merchant_id, card_id) REFERENCES vault.card ON DELETE CASCADE
);
CREATE INDEX alias_card ON vault.alias (card_id);
COMMENT ON TABLE vault.alias IS 'Tokens of digits for systems that know nothing else; they fail the Luhn check.';
COMMENT ON COLUMN vault.alias.merchant_id IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.alias.alias IS 'class=internal retention=token-lifetime';
COMMENT ON COLUMN vault.alias.card_id IS 'class=internal retention=token-lifetime';
GRANT SELECT, INSERT ON vault.alias TO strongroom_vault;

-- What reveals are paid from: each caller's clock hour, and bulk grants opened by dual control.
-- Both limits are constraints: they hold for any number of processes at once.

CREATE TABLE vault.reveal_hour (
    caller text NOT NULL CHECK (char_length(caller) BETWEEN 1 AND 200),
    hour timestamptz NOT NULL,
    seen int NOT NULL,
    PRIMARY KEY (caller, hour),
    CONSTRAINT reveal_hour_limit CHECK (seen BETWEEN 0 AND 20)
) WITH (fillfactor = 50);
COMMENT ON TABLE vault.reveal_hour IS 'How many card numbers a caller was shown in a clock hour.';
COMMENT ON COLUMN vault.reveal_hour.caller IS 'class=internal retention=1h';
COMMENT ON COLUMN vault.reveal_hour.hour IS 'class=internal retention=1h';
COMMENT ON COLUMN vault.reveal_hour.seen IS 'class=internal retention=1h';
GRANT SELECT, INSERT, DELETE ON vault.reveal_hour TO strongroom_vault;
GRANT UPDATE (seen) ON vault.reveal_hour TO strongroom_vault;

CREATE TABLE vault.reveal_grant (
    merchant_id uuid NOT NULL,
    id uuid NOT NULL,
    caller text NOT NULL CHECK (char_length(caller) BETWEEN 1 AND 200),
    purpose text NOT NULL CHECK (char_length(purpose) BETWEEN 1 AND 40),
    granted int NOT NULL CHECK (granted BETWEEN 1 AND 10000000),
    remaining int NOT NULL,
    valid_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT reveal_grant_spent CHECK (remaining BETWEEN 0 AND granted),
    CONSTRAINT reveal_grant_short CHECK (
        valid_until > created_at AND valid_until <= created_at + interval '7 days')
) WITH (fillfactor = 50);
COMMENT ON TABLE vault.reveal_grant IS 'Bulk reveals that two custodians approved; never deleted, only spent.';
COMMENT ON COLUMN vault.reveal_grant.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.reveal_grant.id IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.reveal_grant.caller IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.reveal_grant.purpose IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.reveal_grant.granted IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.reveal_grant.remaining IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.reveal_grant.valid_until IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.reveal_grant.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.reveal_grant.created_by IS 'class=internal retention=journal';
-- What was granted stays as it was granted: only what is left of it changes.
GRANT SELECT, INSERT ON vault.reveal_grant TO strongroom_vault;
GRANT UPDATE (remaining) ON vault.reveal_grant TO strongroom_vault;

-- Imports of cards by file: how far each has come. Lines and cards are not kept here.
CREATE TABLE vault.import_job (
    merchant_id uuid NOT NULL,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 60),
    id uuid NOT NULL UNIQUE,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    version int NOT NULL DEFAULT 1,
    at_byte bigint NOT NULL DEFAULT 0 CHECK (at_byte >= 0),
    lines bigint NOT NULL DEFAULT 0 CHECK (lines >= 0),
    imported bigint NOT NULL DEFAULT 0 CHECK (imported >= 0),
    rejected bigint NOT NULL DEFAULT 0 CHECK (rejected >= 0),
    tokens_bytes bigint NOT NULL DEFAULT 0 CHECK (tokens_bytes >= 0),
    rejects_bytes bigint NOT NULL DEFAULT 0 CHECK (rejects_bytes >= 0),
    created_at timestamptz NOT NULL,
    done_at timestamptz,
    PRIMARY KEY (merchant_id, name)
);
COMMENT ON TABLE vault.import_job IS 'Imports of cards by file and how far they have come; digest is keyed.';
COMMENT ON COLUMN vault.import_job.merchant_id IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.name IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.id IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.digest IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.version IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.at_byte IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.lines IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.imported IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.rejected IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.tokens_bytes IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.rejects_bytes IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.created_at IS 'class=internal retention=journal';
COMMENT ON COLUMN vault.import_job.done_at IS 'class=internal retention=journal';
GRANT SELECT, INSERT ON vault.import_job TO strongroom_vault;
GRANT UPDATE (version, at_byte, lines, imported, rejected, tokens_bytes, rejects_bytes, done_at)
    ON vault.import_job TO strongroom_vault;
