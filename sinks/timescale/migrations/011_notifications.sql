-- What `sink notify` has decided, and what became of it. Several sinks of different names do not see each other's.

CREATE TABLE notify_state (
    sink  text COLLATE "C" NOT NULL,
    key   text COLLATE "C" NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (sink, key)
);
COMMENT ON TABLE notify_state IS
    'What deciding about notifications remembers: open alarms, groups that wait, what is held back. It changes in the transaction that moves sink_offset.';

CREATE TABLE notify_version (
    sink    text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL
);
COMMENT ON TABLE notify_version IS
    'Its row is locked while a sink decides, and tells the others that what they remember is not the latest.';

CREATE TABLE notifications (
    number          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sink            text COLLATE "C" NOT NULL,
    notification_id uuid NOT NULL,
    route           text NOT NULL,
    target          text COLLATE "C" NOT NULL,
    severity        text NOT NULL,
    title           text NOT NULL,
    body            text NOT NULL,
    anomalies       jsonb NOT NULL,
    anomaly_ids     text[] COLLATE "C" NOT NULL,
    at_most_once    boolean NOT NULL,
    state           text COLLATE "C" NOT NULL DEFAULT 'pending'
                    CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'unknown')),
    attempts        integer NOT NULL DEFAULT 0,
    error           text NOT NULL DEFAULT '',
    decided_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease           uuid,
    lease_until     timestamptz,
    settled_at      timestamptz,
    UNIQUE (sink, notification_id, target)
);
COMMENT ON TABLE notifications IS 'One row for each notification and target: the outbox of `sink notify`, and its journal.';
COMMENT ON COLUMN notifications.state IS
    'pending; sending: handed over, the outcome is not known yet; sent; failed: given up; unknown: handed over at most once by a sink that died before the outcome was known.';
CREATE INDEX notifications_unsettled ON notifications (sink, target, number) WHERE state IN ('pending', 'sending');
CREATE INDEX notifications_settled ON notifications (settled_at) WHERE settled_at IS NOT NULL;
