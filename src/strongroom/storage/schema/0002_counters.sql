-- Rates and quotas that all processes share. Unlogged: a crash may forget them, nothing waits for them.
CREATE UNLOGGED TABLE meta.counter (
    key bytea PRIMARY KEY CHECK (octet_length(key) = 16),
    level bigint NOT NULL,
    win bigint NOT NULL,
    full_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE meta.counter IS 'What is used of each limit; the key is a digest of the limit and whom it holds.';
COMMENT ON COLUMN meta.counter.key IS 'class=internal retention=1d';
COMMENT ON COLUMN meta.counter.level IS 'class=internal retention=1d';
COMMENT ON COLUMN meta.counter.win IS 'class=internal retention=1d';
COMMENT ON COLUMN meta.counter.full_at IS 'class=internal retention=1d';

-- The same arithmetic as storage/counters/model.py, in ticks of 100 ns since 2026-01-01 UTC.
CREATE FUNCTION meta.take_units(
    keys bytea[], intervals bigint[], units_max int[], bursts int[], wanted int[], returned int[],
    windows bigint[])
RETURNS TABLE (n int, units int, remaining int, wait bigint, win bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
    at_tick bigint;
    stored meta.counter;
    room bigint;
    available bigint;
BEGIN
    FOR asked IN
        SELECT u.* FROM unnest(keys, intervals, units_max, bursts, wanted, returned, windows)
            WITH ORDINALITY AS u(key, step, most, burst, wanted, back, win, number)
        ORDER BY u.key, u.number
    LOOP
        INSERT INTO meta.counter AS c (key, level, win, full_at)
        VALUES (asked.key, 0, 0, clock_timestamp())
        ON CONFLICT (key) DO UPDATE SET full_at = c.full_at
        RETURNING c.* INTO stored;
        at_tick := ((extract(epoch FROM clock_timestamp()) - 1767225600) * 10000000)::bigint;
        n := asked.number;
        IF asked.burst = 0 THEN
            win := at_tick / asked.step;
            IF stored.win <> win THEN
                stored.level := 0;
            END IF;
            IF asked.win = win THEN
                stored.level := greatest(0, stored.level - asked.back);
            END IF;
            available := asked.most - stored.level;
            units := CASE WHEN available <= 0 OR asked.wanted <= 0 THEN 0
                ELSE least(available, greatest(asked.wanted, available / 16)) END;
            stored.level := stored.level + units;
            stored.full_at := to_timestamp(1767225600 + (win + 1) * (asked.step / 10000000));
            remaining := greatest(0, asked.most - stored.level);
            wait := CASE WHEN remaining > 0 THEN 0 ELSE (win + 1) * asked.step - at_tick END;
        ELSE
            win := 0;
            stored.level := greatest(stored.level - asked.back * asked.step, at_tick);
            room := at_tick + asked.burst * asked.step;
            available := (room - stored.level) / asked.step;
            units := CASE WHEN available <= 0 OR asked.wanted <= 0 THEN 0
                ELSE least(available, greatest(asked.wanted, available / 16)) END;
            stored.level := stored.level + units * asked.step;
            stored.full_at := to_timestamp(1767225600 + stored.level / 10000000.0);
            remaining := greatest(0, (room - stored.level) / asked.step);
            wait := CASE WHEN remaining > 0 THEN 0
                ELSE stored.level + asked.step - room END;
        END IF;
        UPDATE meta.counter AS c SET level = stored.level, win = take_units.win,
            full_at = stored.full_at WHERE c.key = asked.key;
        RETURN NEXT;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION meta.take_units FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON meta.counter TO strongroom_pay;
GRANT EXECUTE ON FUNCTION meta.take_units TO strongroom_pay;
