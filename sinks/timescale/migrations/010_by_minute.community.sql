-- Minutes as a continuous aggregate beside the hours of 005. Where `db maintain` kept rollups as tables until now, those go. If
-- readings were dropped for their age, what is kept of them is carried over, and no refresh begins before the ones that are left.

DO $$
DECLARE
    dropped_before timestamptz := '-infinity';
    start_offset interval;
    kept text;
BEGIN
    IF to_regclass('rollup_hours') IS NOT NULL THEN
        SELECT maintenance.dropped_before INTO STRICT dropped_before FROM maintenance;
        DROP TRIGGER IF EXISTS mark_inserted ON readings;
        DROP TRIGGER IF EXISTS mark_deleted ON readings;
        DROP TRIGGER IF EXISTS mark_corrected ON readings;
        DROP TRIGGER IF EXISTS mark_moved ON readings;
        DROP FUNCTION mark_rollups, mark_rollup_of_row;
        DROP VIEW readings_by_minute;
    END IF;

    CREATE MATERIALIZED VIEW readings_by_minute
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT device_id,
           metric,
           time_bucket(INTERVAL '1 minute', time) AS minute,
           count(*) AS readings,
           sum(value) / count(*) AS mean,
           stddev_samp(value) FILTER (WHERE abs(value) < 1e100) AS std,
           min(value) AS lowest,
           max(value) AS highest
    FROM readings
    GROUP BY 1, 2, 3
    WITH NO DATA;
    COMMENT ON VIEW readings_by_minute IS
        'The readings of each series a minute (UTC), by event time; late ones within five minutes.';
    COMMENT ON COLUMN readings_by_minute.std IS 'Standard deviation of the sample; null of a single reading.';

    IF dropped_before > '-infinity' THEN
        start_offset := clock_timestamp() - dropped_before - INTERVAL '1 day';
        PERFORM remove_continuous_aggregate_policy('readings_hourly');
        PERFORM add_continuous_aggregate_policy('readings_hourly', start_offset => start_offset,
            end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '30 minutes');
        SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) INTO STRICT kept
        FROM timescaledb_information.continuous_aggregates
        WHERE format('%I.%I', view_schema, view_name)::regclass = 'readings_hourly'::regclass;
        EXECUTE format('INSERT INTO %s (device_id, metric, hour, readings, mean, std, lowest, highest)
            SELECT device_id, metric, hour, readings, mean, std, lowest, highest FROM rollup_hours', kept);
        SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) INTO STRICT kept
        FROM timescaledb_information.continuous_aggregates
        WHERE format('%I.%I', view_schema, view_name)::regclass = 'readings_by_minute'::regclass;
        EXECUTE format('INSERT INTO %s (device_id, metric, minute, readings, mean, std, lowest, highest)
            SELECT device_id, metric, minute, readings, mean, std, lowest, highest FROM rollup_minutes', kept);
    END IF;
    PERFORM add_continuous_aggregate_policy('readings_by_minute', start_offset => start_offset,
        end_offset => INTERVAL '2 minutes', schedule_interval => INTERVAL '5 minutes');
    -- Oldest first: in batches from the newest on, the view would lack what is not refreshed yet. Four hours of minutes a batch.
    -- Releases that know neither refresh all at once, and pass over the words.
    PERFORM alter_job(job_id, config => config || '{"refresh_newest_first": false}'
                || CASE view_name WHEN 'readings_by_minute' THEN '{"buckets_per_batch": 240}'::jsonb ELSE '{}' END)
    FROM timescaledb_information.jobs AS job
    JOIN timescaledb_information.continuous_aggregates AS aggregate
        ON (job.hypertable_schema, job.hypertable_name)
         IN ((materialization_hypertable_schema, materialization_hypertable_name), (view_schema, view_name))
    WHERE proc_name = 'policy_refresh_continuous_aggregate' AND view_schema = current_schema()
      AND view_name IN ('readings_hourly', 'readings_by_minute');
    DROP TABLE IF EXISTS rollup_minutes, rollup_hours, rollup_mark, maintenance;
END $$;
