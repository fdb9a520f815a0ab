-- The same answer as the view of 003, kept: hours that are over are stored, the newest are added when asked.
-- A reading that comes late shows after the policy's next run.

DROP VIEW readings_hourly;
CREATE MATERIALIZED VIEW readings_hourly WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT device_id,
       metric,
       time_bucket(INTERVAL '1 hour', time) AS hour,
       count(*) AS readings,
       sum(value) / count(*) AS mean,
       stddev_samp(value) FILTER (WHERE abs(value) < 1e100) AS std,
       min(value) AS lowest,
       max(value) AS highest
FROM readings
GROUP BY 1, 2, 3
WITH NO DATA;  -- filling it at once may take long and cannot be done in a transaction; the policy does it
COMMENT ON VIEW readings_hourly IS 'The readings of each series an hour (UTC), by event time; late ones within half an hour.';
COMMENT ON COLUMN readings_hourly.std IS 'Standard deviation of the sample; null of a single reading.';

-- From the beginning of time: replayed history counts as well, and hours in which nothing changed cost nothing.
SELECT add_continuous_aggregate_policy('readings_hourly', start_offset => NULL, end_offset => INTERVAL '1 hour',
                                       schedule_interval => INTERVAL '30 minutes');
