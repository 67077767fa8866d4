-- What is the installation's own (people, emergencies, findings) is not for a login that is named
-- after a merchant, strongroom_mer_…; all other readers see it as before. The rooms above call
-- journal.hide_from_merchants for their tables without a merchant_id.
CREATE FUNCTION journal.reader_is_merchant() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
    SELECT session_user::text LIKE 'strongroom\_mer\_%'
$$;

-- Without effect on a table that has its policies already.
CREATE FUNCTION journal.hide_from_merchants(wanted regclass) RETURNS void
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
        'USING (NOT (SELECT journal.reader_is_merchant()))', wanted);
END
$$;
REVOKE EXECUTE ON FUNCTION journal.hide_from_merchants FROM PUBLIC;
