-- The installation's own tables are hidden from merchants' logins (journal/schema/0003_house_readers.sql).
SELECT journal.hide_from_merchants(c.oid::regclass)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'iam' AND c.relkind = 'r'
    AND has_any_column_privilege('strongroom_read', c.oid, 'SELECT')
    AND NOT EXISTS (
        SELECT 1 FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = 'merchant_id' AND NOT a.attisdropped
    );
