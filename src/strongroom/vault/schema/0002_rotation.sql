-- Rotation rewrites every card of a merchant once in a while. Room in each page keeps the new row
-- versions beside the old ones, so that most updates touch no index.
ALTER TABLE vault.card SET (fillfactor = 90);
