"""What `up` reads from its database for the live view."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deploy.stack.database import AnomalyRow, Database
from schemas.readings import AnomalySeverity, AnomalyState
from schemas.settings import Settings
from sinks.logs import LogId
from tests.support.sinks import T0, DatabaseServer, anomaly, new_database
from tests.support.writing import anomalies_batch, sink_on

pytestmark = pytest.mark.integration


def test_the_latest_anomalies_say_what_how_bad_and_why(every_database_server: DatabaseServer) -> None:
    opened_at = datetime.fromtimestamp(T0 // 1_000_000, UTC)
    log = LogId("anomalies", "life-1", 0)
    first = anomaly(1, AnomalyState.CLEARED, severity=AnomalySeverity.CRITICAL, kind="drift", reason="why")
    with new_database(every_database_server) as store, sink_on(store) as sink:
        looking = Database(Settings(database={"url": store.url}))
        try:
            since = looking.now()
            sink.position(log)
            sink.write(anomalies_batch([first], 0))
            sink.write(anomalies_batch([replace(anomaly(2), kind="spike")], 1))
            assert looking.latest_anomalies(since, 8) == [
                AnomalyRow(opened_at, None, "device-2", "temperature", "spike", "WARNING", "", 40.0, 9.5, 20.0),
                AnomalyRow(
                    opened_at,
                    opened_at + timedelta(seconds=5),
                    *("device-1", "temperature", "drift", "CRITICAL", "why"),
                    *(40.0, 9.5, 20.0),
                ),
            ]  # fmt: skip
            assert len(looking.latest_anomalies(since, 1)) == 1
            assert looking.latest_anomalies(looking.now(), 8) == []
        finally:
            looking.close()
