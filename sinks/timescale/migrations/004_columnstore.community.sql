-- Readings of a week ago and older go into the columnstore: a fraction of the size, and still one row a key, for
-- rows that come later or once more. Settings and policy that are there already stay as they are.

DO $$
BEGIN
    IF NOT (SELECT compression_enabled FROM timescaledb_information.hypertables
            WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = 'readings'::regclass) THEN
        -- One segment a series, in the order of the primary key: what a key's look-up and a series' diagram read together.
        ALTER TABLE readings SET (timescaledb.enable_columnstore = true, timescaledb.segmentby = 'device_id, metric',
                                  timescaledb.orderby = 'time');
    END IF;
END $$;
CALL add_columnstore_policy('readings', after => INTERVAL '7 days', if_not_exists => true);
