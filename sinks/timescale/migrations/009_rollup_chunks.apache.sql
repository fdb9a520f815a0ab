-- Rollups in chunks as well, so that old ones are dropped and not deleted. Not where they are continuous aggregates.

DO $$
BEGIN
    IF to_regclass('rollup_minutes') IS NULL THEN
        RETURN;
    END IF;
    PERFORM create_hypertable('rollup_minutes', 'minute', chunk_time_interval => INTERVAL '1 day',
                              create_default_indexes => false, migrate_data => true);
    PERFORM create_hypertable('rollup_hours', 'hour', chunk_time_interval => INTERVAL '30 days',
                              create_default_indexes => false, migrate_data => true);
END $$;
