-- Readers see one merchant at a time (journal/schema/0002_readers.sql), in the tables that came to
-- this schema after identity's own did so too.
SELECT journal.isolate_readers(c.oid::regclass)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'merchant_id' AND NOT a.attisdropped
WHERE n.nspname = 'iam' AND c.relkind = 'r';
