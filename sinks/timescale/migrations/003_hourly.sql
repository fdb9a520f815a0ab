-- What diagrams of weeks and months read. Every strength has it under this name and with these columns, always up to date; the
-- community edition keeps the rows instead of computing them (005).

CREATE VIEW readings_hourly AS
SELECT device_id,
       metric,
       date_trunc('hour', time, 'UTC') AS hour,
       count(*) AS readings,
       sum(value) / count(*) AS mean,
       -- The arithmetic of avg and stddev overflows on values near the largest that a reading may have (1e150), and one such
       -- reading would make the hour an error.
       stddev_samp(value) FILTER (WHERE abs(value) < 1e100) AS std,
       min(value) AS lowest,
       max(value) AS highest
FROM readings
GROUP BY 1, 2, 3;
COMMENT ON VIEW readings_hourly IS 'The readings of each series an hour (UTC), by event time.';
COMMENT ON COLUMN readings_hourly.std IS 'Standard deviation of the sample; null of a single reading.';
