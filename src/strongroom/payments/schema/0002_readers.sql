-- Readers see one merchant at a time (journal/schema/0002_readers.sql).
SELECT journal.isolate_readers('pay.payment'), journal.isolate_readers('pay.operation'),
    journal.isolate_readers('pay.idempotency');
