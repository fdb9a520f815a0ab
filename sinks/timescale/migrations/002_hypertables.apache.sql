-- TimescaleDB of either edition. What the tables hold already moves into chunks (migrate_data).

SELECT create_hypertable('readings', 'time', chunk_time_interval => INTERVAL '1 day',
                         create_default_indexes => false, migrate_data => true);
-- Episodes are rare; daily chunks would hold a handful of rows each.
SELECT create_hypertable('anomalies', 'opened_at', chunk_time_interval => INTERVAL '30 days',
                         create_default_indexes => false, migrate_data => true);
