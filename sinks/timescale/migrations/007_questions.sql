-- Indexes for what people, the API and the dashboard ask, and the newest reading of each series.

-- "The newest readings of all devices", "the first and the last reading", what a late reading changed: of any time, in order.
-- The BRIN index of before finds a stretch of time, but not its end without reading the whole stretch.
DROP INDEX readings_time;
CREATE INDEX readings_time ON readings (time DESC);

-- Newest first: of all, of a kind, of a severity; and what the sink stored since somebody looked.
CREATE INDEX anomalies_newest ON anomalies (opened_at DESC);
CREATE INDEX anomalies_kind ON anomalies (kind, opened_at DESC);
CREATE INDEX anomalies_severity ON anomalies (severity, opened_at DESC);
CREATE INDEX anomalies_stored ON anomalies (stored_at DESC);

CREATE INDEX devices_type ON devices (type, device_id);
CREATE INDEX devices_location ON devices (location, device_id);

-- One step into the primary key a series: its newest chunk, the end of its range. A condition on device_id reaches the devices.
CREATE VIEW readings_latest AS
SELECT devices.device_id, series.metric COLLATE "C" AS metric, latest.time, latest.value, latest.fault
FROM devices
CROSS JOIN LATERAL jsonb_object_keys(devices.units) AS series(metric)
CROSS JOIN LATERAL (
    SELECT time, value, fault FROM readings
    WHERE readings.device_id = devices.device_id AND readings.metric = series.metric COLLATE "C"
    ORDER BY time DESC LIMIT 1
) AS latest;
COMMENT ON VIEW readings_latest IS
    'The newest reading of each series, of the devices that are described, by the metrics that their units name.';
