"""The query API as an app.

with query_parts(settings, codec) as parts:
    app = query_app(settings, parts.api(...))
    serve(app, settings.api, stop)
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from schemas.codec import Codec
from schemas.errors import ConfigError
from schemas.settings import Settings
from schemas.web.app import new_app
from sinks.api.anomaly_routes import anomaly_routes
from sinks.api.answers import add_database_errors
from sinks.api.context import Api
from sinks.api.device_routes import device_routes
from sinks.api.fleet import Fleet
from sinks.api.live import LiveTail
from sinks.api.metrics import ApiMetrics
from sinks.api.reading_routes import reading_routes
from sinks.api.registry_view import add_registry_view
from sinks.api.status_routes import status_routes
from sinks.api.streams import stream_routes
from sinks.queries.connection import Readers

_DESCRIPTION = """
Readings, anomalies and devices, from the database and live from Kafka; how well detection does, and how the pipeline
stands. These questions change nothing.

Times are UTC, as `2026-03-01T12:00:00Z`. Lists go by pages: give `next` as `cursor`. Answers have an `ETag`; send it as
`If-None-Match`, and 304 says that nothing changed. Live events are server-sent events (`EventSource` in a browser).

`/anomalies`, `/read_log`, `/stream_data` and `/stream_anomalies` are as moving-average-detector has them, `/db_stats`
as sensor-log-generator. Without a schema registry of its own, this is one to be read: `/subjects`, `/schemas/ids/{id}`.
"""


@contextmanager
def query_api(settings: Settings, codec: Codec) -> Iterator[Api]:
    """What the API stands on, at work while the block runs: looks at the database and reads Kafka's newest.

    Neither need be there: what cannot be answered is a 503 until they are.

    Args:
        settings: `database`, `kafka`, `topics`, `api`, `processor.k`.
        codec: knows the schemas; for this alone.

    Raises:
        ConfigError: no database is named, or the cluster's options are not usable.
    """
    if settings.database.url is None:
        raise ConfigError(
            "no database is named",
            "Give --database URL, SIGMAWATCH_DATABASE__URL, or database.url in the file.",
        )
    readers = Readers(
        settings.database.url,
        size=settings.database.pool_size,
        timeout_seconds=settings.api.query_timeout,
        connect_timeout=max(1, round(settings.database.connect_timeout)),
    )
    fleet = Fleet(readers)
    live = LiveTail(settings.kafka, settings.topics.readings, settings.topics.anomalies, codec, fleet.take)
    api = Api(readers, fleet, live, k=settings.processor.k)
    readers.open()
    try:
        live.start()
        fleet.start()
        yield api
    finally:
        api.stop.set()
        live.stop()
        fleet.stop()
        readers.close()


def query_app(settings: Settings, api: Api, open_paths: Collection[str] = ()) -> FastAPI:
    """The app.

    Args:
        settings: `api`, `topics`, and whether `schema_registry` is set: then nothing here plays one.
        api: what it stands on.
        open_paths: as `new_app` takes them.

    Raises:
        ConfigError: the address is off loopback, and no token is set.
    """
    registry = CollectorRegistry()
    registry.register(ApiMetrics(api))
    app = new_app(
        "Sigmawatch",
        settings.api,
        description=_DESCRIPTION,
        registry=registry,
        ready=lambda: api.fleet.trouble,
        open_paths=open_paths,
    )
    add_database_errors(app)
    for routes_of in (anomaly_routes, device_routes, reading_routes, status_routes, stream_routes):
        app.include_router(routes_of(api))
    if settings.schema_registry.url is None:
        add_registry_view(app, settings.topics)
    return app
