-- Readers see one merchant at a time: row-level security on every tenant table that
-- strongroom_read may look at. The rooms above call journal.isolate_readers for their own tables.
--
-- Which merchant a session reads is, in this order:
--   the one in the name of its login, strongroom_mer_…, which the session cannot change;
--   the setting strongroom.merchant: a mer_… id, or `installation` for what belongs to none;
--   none, and then there are no rows.
-- A login that was given the role strongroom_auditor reads all. That role is made by hand, by
-- whoever runs the server (docs/access.md), so that no release of ours can hand it out.

-- The uuid in an id such as mer_01k…: 26 digits of Crockford's base 32, without its prefix.
CREATE FUNCTION journal.uuid_of(digits text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN digits ~ '^[0-7][0-9a-hjkmnp-tv-z]{25}$' THEN (
        SELECT encode(string_agg(
            set_byte('\x00'::bytea, 0, substr(bits.all_bits, 3 + i * 8, 8)::bit(8)::int), ''::bytea
            ORDER BY i
        ), 'hex')::uuid
        FROM generate_series(0, 15) AS i, (
            SELECT string_agg((strpos('0123456789abcdefghjkmnpqrstvwxyz', d) - 1)::bit(5)::text, ''
                ORDER BY n) AS all_bits
            FROM regexp_split_to_table(digits, '') WITH ORDINALITY AS split(d, n)
        ) AS bits
    ) END
$$;

CREATE FUNCTION journal.reader_merchant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT CASE
        WHEN session_user::text LIKE 'strongroom\_mer\_%'
            THEN journal.uuid_of(substr(session_user::text, 16))
        WHEN current_setting('strongroom.merchant', true) = 'installation'
            THEN '00000000-0000-0000-0000-000000000000'::uuid
        WHEN current_setting('strongroom.merchant', true) LIKE 'mer\_%'
            THEN journal.uuid_of(substr(current_setting('strongroom.merchant', true), 5))
    END
$$;

CREATE FUNCTION journal.reader_is_auditor() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT EXISTS (
        SELECT 1 FROM pg_roles
        WHERE rolname = 'strongroom_auditor' AND pg_has_role(session_user, oid, 'MEMBER')
    )
$$;

-- Isolates one table; without effect on one that is isolated already. The serving roles go on as
-- before: each of their statements names the merchant itself.
CREATE FUNCTION journal.isolate_readers(wanted regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = wanted AND polname = 'readers') THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', wanted);
    EXECUTE format(
        'CREATE POLICY house ON %s TO strongroom_pay, strongroom_vault, strongroom_journal '
        'USING (true) WITH CHECK (true)', wanted);
    EXECUTE format(
        'CREATE POLICY readers ON %s FOR SELECT TO strongroom_read '
        'USING (merchant_id = (SELECT journal.reader_merchant()) '
        'OR (SELECT journal.reader_is_auditor()))', wanted);
END
$$;
REVOKE EXECUTE ON FUNCTION journal.isolate_readers FROM PUBLIC;

SELECT journal.isolate_readers('journal.entry');
