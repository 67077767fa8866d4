-- Schemas by room and the database roles that may use them.
-- Roles stand already where the embedded PostgreSQL made them as logins; elsewhere they are made
-- here without login and taken with SET ROLE.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[
        'strongroom_pay', 'strongroom_vault', 'strongroom_journal', 'strongroom_read'
    ] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
        -- Without the right to grant, the role's own URL is used (docs/operations/settings.md).
        BEGIN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        EXCEPTION WHEN insufficient_privilege OR invalid_grant_operation THEN
            NULL;
        END;
    END LOOP;
END
$$;

CREATE SCHEMA IF NOT EXISTS meta;
CREATE SCHEMA IF NOT EXISTS journal;
CREATE SCHEMA IF NOT EXISTS keys;
CREATE SCHEMA IF NOT EXISTS iam;
CREATE SCHEMA IF NOT EXISTS vault;
CREATE SCHEMA IF NOT EXISTS ledger;
CREATE SCHEMA IF NOT EXISTS pay;

GRANT USAGE ON SCHEMA meta, journal
    TO strongroom_pay, strongroom_vault, strongroom_journal, strongroom_read;
GRANT USAGE ON SCHEMA iam, ledger, pay TO strongroom_pay, strongroom_read;
GRANT USAGE ON SCHEMA keys, vault TO strongroom_vault;

CREATE TABLE meta.installation (
    id uuid PRIMARY KEY,
    mode text NOT NULL CHECK (mode IN ('test', 'live')),
    created_at timestamptz NOT NULL,
    only_row boolean NOT NULL DEFAULT true UNIQUE CHECK (only_row)
);
COMMENT ON TABLE meta.installation IS 'One row: which world this database belongs to; test and live never mix.';
COMMENT ON COLUMN meta.installation.id IS 'class=internal retention=forever';
COMMENT ON COLUMN meta.installation.mode IS 'class=internal retention=forever';
COMMENT ON COLUMN meta.installation.created_at IS 'class=internal retention=forever';
COMMENT ON COLUMN meta.installation.only_row IS 'class=internal retention=forever';

COMMENT ON COLUMN meta.migration.room IS 'class=internal retention=forever';
COMMENT ON COLUMN meta.migration.number IS 'class=internal retention=forever';
COMMENT ON COLUMN meta.migration.name IS 'class=internal retention=forever';
COMMENT ON COLUMN meta.migration.checksum IS 'class=internal retention=forever';
COMMENT ON COLUMN meta.migration.applied_at IS 'class=internal retention=forever';

GRANT SELECT ON meta.installation, meta.migration
    TO strongroom_pay, strongroom_vault, strongroom_journal, strongroom_read;
