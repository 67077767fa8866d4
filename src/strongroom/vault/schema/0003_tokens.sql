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
