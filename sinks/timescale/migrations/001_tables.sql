-- What every strength of database has. Ids are compared byte by byte (COLLATE "C"): faster, and the same on every machine.

CREATE TABLE readings (
    device_id text COLLATE "C" NOT NULL,
    metric    text COLLATE "C" NOT NULL,
    time      timestamptz NOT NULL,
    value     double precision NOT NULL,
    fault     text,
    PRIMARY KEY (device_id, metric, time)
);
COMMENT ON TABLE readings IS 'One value of one metric of one device at one time; a reading sent twice is one row.';
COMMENT ON COLUMN readings.fault IS 'Kind of the injected fault: ground truth, of simulated devices only.';
-- Retention and "everything between two times" without a chunk's bounds: BRIN costs nearly nothing to keep.
CREATE INDEX readings_time ON readings USING brin (time);

CREATE TABLE devices (
    device_id     text COLLATE "C" PRIMARY KEY,
    type          text NOT NULL,
    name          text NOT NULL,
    location      text,
    latitude      double precision,
    longitude     double precision,
    timezone      text,
    manufacturer  text NOT NULL,
    model         text NOT NULL,
    firmware      text NOT NULL,
    serial_number text NOT NULL,
    units         jsonb NOT NULL,
    attributes    jsonb NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE devices IS 'The newest description of each device; changed_at is when the row last changed.';
COMMENT ON COLUMN devices.units IS 'metric -> unit';

CREATE TABLE anomalies (
    anomaly_id  uuid NOT NULL,
    device_id   text COLLATE "C" NOT NULL,
    metric      text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('OPENED', 'CLEARED')),
    opened_at   timestamptz NOT NULL,
    cleared_at  timestamptz,
    value       double precision NOT NULL,
    score       double precision NOT NULL,
    mean        double precision NOT NULL,
    std         double precision NOT NULL,
    lower       double precision NOT NULL,
    upper       double precision NOT NULL,
    readings    bigint NOT NULL,
    fault       text,
    detected_at timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (anomaly_id, opened_at)
);
COMMENT ON TABLE anomalies IS 'One row an episode; value, score and bounds are of its most deviating reading so far.';
COMMENT ON COLUMN anomalies.readings IS 'How many readings of the episode were flagged so far.';
COMMENT ON COLUMN anomalies.stored_at IS 'When the row came into being; a later CLEARED does not move it.';
CREATE INDEX anomalies_series ON anomalies (device_id, metric, opened_at DESC);
CREATE INDEX anomalies_open ON anomalies (opened_at DESC) WHERE state = 'OPENED';

CREATE TABLE sink_offset (
    sink         text COLLATE "C" NOT NULL,
    topic        text COLLATE "C" NOT NULL,
    topic_id     text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL CHECK (next_offset >= 0),
    stored       bigint NOT NULL DEFAULT 0,
    updated      bigint NOT NULL DEFAULT 0,
    duplicates   bigint NOT NULL DEFAULT 0,
    dead_letters bigint NOT NULL DEFAULT 0,
    moved_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (sink, topic, topic_id, partition)
) WITH (fillfactor = 50);  -- rows move with every batch: room for heap-only updates
COMMENT ON TABLE sink_offset IS
    'Up to where each log is in the database, moved in the transaction that writes its rows. Every message consumed is counted once: stored (a new row), updated (changed a row), duplicates (changed nothing) or dead_letters.';
COMMENT ON COLUMN sink_offset.topic_id IS 'Kafka''s id of the topic: one recreated under the same name is another log.';
