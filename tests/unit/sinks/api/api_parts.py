"""An API over no servers: a fleet that is told, and a tail that is fed."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient
from pydantic import SecretStr

from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.readings import Reading
from schemas.settings import ApiSettings, KafkaSettings, Settings
from sinks.api.app import query_app
from sinks.api.context import Api
from sinks.api.fleet import Fleet
from sinks.api.live import LiveTail
from sinks.queries.connection import Readers
from sinks.queries.devices import DeviceRow, LatestReading, OpenAnomalies

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOWHERE = SecretStr("postgresql://nobody@127.0.0.1:9/none")


class ToldFleet(Fleet):
    """A fleet that asks no database."""

    def tell(self, described=(), latest=(), opened=()):
        self._known.described = {row.device_id: row for row in described}
        for one in latest:
            self._known.latest.setdefault(one.device_id, {})[one.metric] = one
        self._known.open = dict(opened)
        self._snapshot = (NOW, [])
        self.trouble = None
        self.ready.set()


def device_row(device_id, **changes):
    values = {
        "device_id": device_id,
        "type": "oven",
        "name": f"Name of {device_id}",
        "place": "Denver",
        "latitude": 39.7,
        "longitude": -105.0,
        "timezone": "America/Denver",
        "manufacturer": "HeatWorks",
        "model": "H-200",
        "firmware": "2.1.0",
        "serial_number": "1",
        "units": {"temperature": "°C"},
        "attributes": {},
        "changed_at": NOW,
    }
    return DeviceRow(**values | changes)


def latest(device_id, ago_seconds=1.0, metric="temperature", value=20.0):
    return LatestReading(device_id, metric, datetime.now(UTC) - timedelta(seconds=ago_seconds), value)


def reading(device_id="oven-1", metric="temperature", value=20.0, time=1_772_366_400_000_000):
    return Reading(device_id, metric, time, value)


def told_fleet():
    """One device of each state."""
    fleet = ToldFleet(Readers(NOWHERE, timeout_seconds=0.1, connect_timeout=1))
    names = ["critical", "info", "quiet", "silent", "unseen", "warning"]
    fleet.tell(
        [device_row(name, type="oven" if name < "r" else "pump") for name in names],
        [
            *(latest(name) for name in names if name not in ("silent", "unseen")),
            latest("silent", 3600),
            latest("stray"),
        ],
        {
            "critical": OpenAnomalies(1, 2, 3),
            "warning": OpenAnomalies(0, 1, 0),
            "info": OpenAnomalies(0, 0, 1),
        },
    )
    return fleet


def told_api():
    fleet = told_fleet()
    live = LiveTail(KafkaSettings(), "readings", "anomalies", Codec(Catalogue()), fleet.take)
    live.trouble = None
    return Api(fleet._readers, fleet, live)


@contextmanager
def client_of(api, **settings):
    app = query_app(Settings(api=ApiSettings(**settings)), api)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client
