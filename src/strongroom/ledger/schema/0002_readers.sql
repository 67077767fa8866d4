-- Readers see one merchant at a time (journal/schema/0002_readers.sql).
SELECT journal.isolate_readers('ledger.posting'), journal.isolate_readers('ledger.balance');
