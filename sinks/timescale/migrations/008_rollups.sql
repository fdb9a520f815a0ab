-- Rollups as tables, which `sigmawatch db maintain` keeps, behind views that add what is newer. Exact also for readings that come
-- late, are corrected or deleted: a trigger marks the hours that are rolled up already, and the next run rolls them up anew.
-- Where readings_hourly is a continuous aggregate, TimescaleDB does all of it.

DO $$
BEGIN
    IF pg_get_viewdef('readings_hourly'::regclass) LIKE '%\_materialized\_hypertable\_%' THEN
        RETURN;
    END IF;

    CREATE TABLE rollup_minutes (
        device_id text COLLATE "C" NOT NULL,
        metric    text COLLATE "C" NOT NULL,
        minute    timestamptz NOT NULL,
        readings  bigint NOT NULL,
        mean      double precision NOT NULL,
        std       double precision,
        lowest    double precision NOT NULL,
        highest   double precision NOT NULL,
        PRIMARY KEY (device_id, metric, minute)
    );
    CREATE INDEX rollup_minutes_time ON rollup_minutes (minute);
    CREATE TABLE rollup_hours (
        device_id text COLLATE "C" NOT NULL,
        metric    text COLLATE "C" NOT NULL,
        hour      timestamptz NOT NULL,
        readings  bigint NOT NULL,
        mean      double precision NOT NULL,
        std       double precision,
        lowest    double precision NOT NULL,
        highest   double precision NOT NULL,
        PRIMARY KEY (device_id, metric, hour)
    );
    CREATE INDEX rollup_hours_time ON rollup_hours (hour);

    CREATE TABLE maintenance (
        only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        watched_before timestamptz NOT NULL DEFAULT '-infinity',
        minutes_before timestamptz NOT NULL DEFAULT '-infinity',
        hours_before   timestamptz NOT NULL DEFAULT '-infinity',
        dropped_before timestamptz NOT NULL DEFAULT '-infinity',
        ran_at         timestamptz,
        CHECK (minutes_before <= watched_before AND hours_before <= watched_before)
    );
    INSERT INTO maintenance DEFAULT VALUES;
    COMMENT ON TABLE maintenance IS 'How far `sigmawatch db maintain` is; one row.';
    COMMENT ON COLUMN maintenance.watched_before IS 'Who changes readings before this time leaves marks in rollup_mark.';
    COMMENT ON COLUMN maintenance.minutes_before IS 'rollup_minutes holds the minutes before it; readings_by_minute computes the rest.';
    COMMENT ON COLUMN maintenance.hours_before IS 'rollup_hours holds the hours before it; readings_hourly computes the rest.';
    COMMENT ON COLUMN maintenance.dropped_before IS 'Readings before it were dropped for their age: rollups of before stay as they are.';
    COMMENT ON COLUMN maintenance.ran_at IS 'When a run came to its end.';

    CREATE TABLE rollup_mark (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        device_id  text COLLATE "C",
        metric     text COLLATE "C",
        first_hour timestamptz NOT NULL,
        last_hour  timestamptz NOT NULL
    );
    COMMENT ON TABLE rollup_mark IS 'Hours to roll up anew, of one series or (null) of all; they may repeat.';

    -- After the rows, before the commit. The lock is shared by all who change readings and held to their end; who moves
    -- watched_before takes it alone. So either the marks are made by the new bound, or the rows are seen by what follows the move.
    CREATE FUNCTION mark_rollups() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $body$
    DECLARE
        bound timestamptz;
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('sigmawatch watched_before', 0));
        SELECT watched_before INTO STRICT bound FROM maintenance;
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            bound := 'infinity';  -- what this transaction sees may be older than the lock
        END IF;
        WITH old AS MATERIALIZED (
            SELECT device_id, metric, date_trunc('hour', time, 'UTC') AS hour
            FROM changed WHERE time < bound GROUP BY 1, 2, 3
        ), size AS MATERIALIZED (
            SELECT count(*) AS hours, count(DISTINCT (device_id, metric)) AS series FROM old
        )
        -- Single hours of single series; where there are too many, all between the first and the last; of many series,
        -- the hours of all of them.
        INSERT INTO rollup_mark (device_id, metric, first_hour, last_hour)
        SELECT device_id, metric, hour, hour FROM old, size WHERE hours <= 1000
        UNION ALL
        SELECT device_id, metric, min(hour), max(hour) FROM old, size
        WHERE hours > 1000 AND series <= 100 GROUP BY device_id, metric
        UNION ALL
        SELECT NULL, NULL, hour, hour FROM old, size WHERE hours > 1000 AND series > 100 GROUP BY hour;
        RETURN NULL;
    END $body$;
    COMMENT ON FUNCTION mark_rollups IS 'Notes in rollup_mark which hours that are rolled up a statement changed.';

    CREATE OR REPLACE VIEW readings_hourly AS
    SELECT device_id, metric, hour, readings, mean, std, lowest, highest FROM rollup_hours
    UNION ALL
    SELECT device_id, metric, date_trunc('hour', time, 'UTC'), count(*), sum(value) / count(*),
           stddev_samp(value) FILTER (WHERE abs(value) < 1e100), min(value), max(value)
    FROM readings WHERE time >= (SELECT hours_before FROM maintenance)
    GROUP BY 1, 2, 3;
    COMMENT ON VIEW readings_hourly IS
        'The readings of each series an hour (UTC), by event time; late ones after the next `sigmawatch db maintain`.';

    CREATE VIEW readings_by_minute AS
    SELECT device_id, metric, minute, readings, mean, std, lowest, highest FROM rollup_minutes
    UNION ALL
    SELECT device_id, metric, date_trunc('minute', time, 'UTC'), count(*), sum(value) / count(*),
           stddev_samp(value) FILTER (WHERE abs(value) < 1e100), min(value), max(value)
    FROM readings WHERE time >= (SELECT minutes_before FROM maintenance)
    GROUP BY 1, 2, 3;
    COMMENT ON VIEW readings_by_minute IS
        'The readings of each series a minute (UTC), by event time; late ones after the next `sigmawatch db maintain`.';
    COMMENT ON COLUMN readings_by_minute.std IS 'Standard deviation of the sample; null of a single reading.';

    -- Row by row, as a columnstore, which the server may gain later, refuses transition tables of DELETE alone.
    CREATE FUNCTION mark_rollup_of_row() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $body$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('sigmawatch watched_before', 0));
        INSERT INTO rollup_mark (device_id, metric, first_hour, last_hour)
        SELECT OLD.device_id, OLD.metric, hour, hour FROM date_trunc('hour', OLD.time, 'UTC') AS hour, maintenance
        WHERE OLD.time < watched_before OR current_setting('transaction_isolation') <> 'read committed';
        RETURN NULL;
    END $body$;
    COMMENT ON FUNCTION mark_rollup_of_row IS 'Notes in rollup_mark of which hour a reading was deleted.';

    BEGIN
        CREATE TRIGGER mark_inserted AFTER INSERT ON readings REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION mark_rollups();
        CREATE TRIGGER mark_corrected AFTER UPDATE ON readings REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION mark_rollups();
        CREATE TRIGGER mark_moved AFTER UPDATE ON readings REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION mark_rollups();
        -- Not where old readings are dropped: their rollup stays.
        CREATE TRIGGER mark_deleted AFTER DELETE ON readings FOR EACH ROW
            WHEN (current_setting('sigmawatch.dropping', true) IS DISTINCT FROM 'on')
            EXECUTE FUNCTION mark_rollup_of_row();
    EXCEPTION WHEN feature_not_supported THEN
        -- TimescaleDB before 2.18. The views compute everything, and `db maintain` says that it keeps no rollups.
        RAISE NOTICE 'no triggers with transition tables: rollups are computed, not kept';
    END;
END $$;
