-- What version 2 of the Anomaly says beyond version 1. Constant defaults rewrite no row and are allowed on a hypertable with
-- columnstore. A CHECK is not on every release, so that severity has none: the schema's enum lets nothing else in.

ALTER TABLE anomalies
    ADD COLUMN severity text NOT NULL DEFAULT 'WARNING',
    ADD COLUMN channel  text NOT NULL DEFAULT '',
    ADD COLUMN expected double precision,
    ADD COLUMN reason   text NOT NULL DEFAULT '',
    ADD COLUMN storm_id uuid;
COMMENT ON COLUMN anomalies.kind IS
    'What is wrong, named as a fault is (spike, drop, level_shift, drift, ...); a CLEARED may say it better than OPENED did.';
COMMENT ON COLUMN anomalies.severity IS 'INFO, WARNING or CRITICAL.';
COMMENT ON COLUMN anomalies.channel IS 'Channel of the detector that opened the episode; empty where it is not known.';
COMMENT ON COLUMN anomalies.expected IS 'The value that was expected; null where no value is, as in a gap.';
COMMENT ON COLUMN anomalies.reason IS 'Why, in words, for people.';
COMMENT ON COLUMN anomalies.storm_id IS
    'anomaly_id of the storm (many devices at once) that the episode belongs to; the storm is a row of kind storm.';
COMMENT ON COLUMN anomalies.readings IS
    'How many readings of the episode were flagged so far; of a storm, how many devices are in it.';
-- The critical ones that are open, newest first; and the episodes of a storm.
CREATE INDEX anomalies_open_severity ON anomalies (severity, opened_at DESC) WHERE state = 'OPENED';
CREATE INDEX anomalies_storm ON anomalies (storm_id, opened_at DESC) WHERE storm_id IS NOT NULL;
