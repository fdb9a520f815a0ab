"""/api/v1/quality and /api/v1/pipeline, /db_stats, and /read_log in moving-average-detector's shape."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import SigmawatchError
from schemas.web.strict_json import StrictRoute
from sinks.api.answers import FOUND, READ, answer, not_found, unavailable
from sinks.api.context import Api
from sinks.api.parameters import Begin, Devices, End, Metrics
from sinks.api.views import with_example
from sinks.queries.readings import reading_log
from sinks.queries.selection import Selection
from sinks.queries.statistics import (
    DatabaseStatistics,
    TopicStatistics,
    database_statistics,
    topic_statistics,
)

_LONGEST_QUALITY = timedelta(days=31)


class QualityOut(BaseModel):
    """Detection against ground truth; as `sigmawatch quality --json` tells it."""

    model_config = ConfigDict(extra="allow")


class TopicOut(BaseModel):
    """What the sink has done with a topic's messages; counts are exact."""

    topic: str
    stored: int
    updated: int
    duplicates: int
    dead_letters: int
    moved_at: datetime


class LiveOut(BaseModel):
    """What this server reads of Kafka."""

    readings_per_second: float
    anomalies_per_second: float
    clients: int
    trouble: str | None


class PipelineOut(BaseModel):
    """How the pipeline stands. What cannot be asked is null, and `trouble` says why."""

    live: LiveOut
    sink: list[TopicOut] | None
    processors: dict[str, Any] | None = Field(description="Of each partition: offsets, lag, counts.")
    trouble: list[str]


class StatisticsOut(BaseModel):
    """The database, as sensor-log-generator's monitor told of its own, with ours added."""

    model_config = ConfigDict(extra="allow")

    total_readings: int = Field(description="About, as the database estimates them.")
    database_size_bytes: int


class LogEntry(BaseModel):
    """A reading as moving-average-detector shows it, with ours added; mean and std_dev are of the 100 before it."""

    value: float
    timestamp: float = Field(description="Seconds since 1970 UTC.")
    mean: float | None
    std_dev: float | None
    device_id: str
    metric: str


def status_routes(api: Api) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=StrictRoute, tags=["state"])
    _add_quality(routes, api)
    _add_pipeline(routes, api)
    _add_database(routes, api)
    _add_log(routes, api)
    return routes


def _add_quality(routes: APIRouter, api: Api) -> None:
    example = {
        "overall": {"precision": 0.93, "recall": 0.88},
        "settings": {"devices": 120, "readings": 864_000},
    }

    @routes.get(
        "/api/v1/quality", response_class=Response, responses=FOUND | with_example(QualityOut, example)
    )
    def quality(request: Request, begin: Begin = None, end: End = None) -> Response:
        """Detection against the ground truth of simulated devices: without `from` of the last day, 31 days at most.

        404 where no reading of the time says that it has a fault.
        """
        if api.quality is None:
            raise unavailable("this server cannot measure quality", "Run `sigmawatch quality`.")
        until = end or datetime.now(UTC)
        since = begin or until - timedelta(days=1)
        Selection(begin=since, end=until)
        if until - since > _LONGEST_QUALITY:
            since = until - _LONGEST_QUALITY
        found = api.quality(since, until)
        if not found:
            raise not_found("ground truth in this time", "Simulated devices tell it.")
        return answer(request, found)


def _add_pipeline(routes: APIRouter, api: Api) -> None:
    example = {
        "live": {"readings_per_second": 998.2, "anomalies_per_second": 0.2, "clients": 1, "trouble": None},
        "sink": [
            {
                "topic": "readings",
                "stored": 864_000,
                "updated": 0,
                "duplicates": 12,
                "dead_letters": 0,
                "moved_at": "2026-03-01T12:03:20Z",
            }
        ],
        "processors": {"ready": 1, "lag": 40, "partitions": {}},
        "trouble": [],
    }

    @routes.get(
        "/api/v1/pipeline", response_class=Response, responses=READ | with_example(PipelineOut, example)
    )
    def pipeline(request: Request) -> Response:
        """Rates, lag, checkpoints and dead letters, as far as the parts answer."""
        return answer(request, pipeline_state(api))


def pipeline_state(api: Api) -> dict[str, Any]:
    """The pipeline's state as `PipelineOut` describes it; blocks for some seconds at most."""
    rate, trouble = api.live.rate(), []
    sink: tuple[TopicStatistics, ...] | None = None
    processors = None
    try:
        with api.readers.connection() as connection:
            sink = topic_statistics(connection)
    except SigmawatchError as error:
        trouble.append(error.message)
    if api.pipeline is not None:
        try:
            processors = api.pipeline()
        except SigmawatchError as error:
            trouble.append(error.message)
    if api.live.trouble:
        trouble.append(f"Kafka: {api.live.trouble}")
    return {
        "live": {
            "readings_per_second": round(rate.readings, 1),
            "anomalies_per_second": round(rate.anomalies, 2),
            "clients": api.live.clients,
            "trouble": api.live.trouble,
        },
        "sink": sink,
        "processors": processors,
        "trouble": trouble,
    }


def _add_database(routes: APIRouter, api: Api) -> None:
    example = {"total_readings": 864_000, "database_size_bytes": 91_226_112}

    @routes.get("/db_stats", response_class=Response, responses=READ | with_example(StatisticsOut, example))
    def db_stats(request: Request) -> Response:
        """The database: sizes, counts, what came of each topic's messages."""
        with api.readers.connection() as connection:
            found = database_statistics(connection)
        return answer(request, statistics_out(found))


def statistics_out(found: DatabaseStatistics) -> dict[str, Any]:
    """Statistics as `StatisticsOut` describes them."""
    rows = {table.name: table.rows for table in found.tables}
    return {
        "storage": "postgresql",
        "total_readings": rows.get("readings", 0),
        "database_size_bytes": found.size_bytes,
        "database_size_mb": round(found.size_bytes / 2**20, 2),
        "last_write": max((topic.moved_at for topic in found.topics), default=None),
        "anomalies": {
            "total": found.anomalies,
            "open": found.open_anomalies,
            "first": found.first_anomaly,
            "last": found.last_anomaly,
            "kinds": {kind: {"total": total, "open": now} for kind, (total, now) in found.kinds.items()},
        },
        "devices": found.devices,
        "tables": {
            table.name: {"size_bytes": table.size_bytes, "rows": table.rows} for table in found.tables
        },
        "topics": {
            topic.topic: {
                "stored": topic.stored,
                "updated": topic.updated,
                "duplicates": topic.duplicates,
                "dead_letters": topic.dead_letters,
                "moved_at": topic.moved_at,
            }
            for topic in found.topics
        },
    }


def _add_log(routes: APIRouter, api: Api) -> None:
    example = [
        {
            "value": 205.1,
            "timestamp": 1772366400.0,
            "mean": 204.9,
            "std_dev": 3.2,
            "device_id": "oven-0042",
            "metric": "temperature",
        }
    ]

    @routes.get(
        "/read_log",
        response_class=Response,
        responses=READ | with_example(list[LogEntry], example),  # type: ignore[arg-type]
    )
    def read_log(
        request: Request,
        device: Devices = (),  # type: ignore[assignment]  # FastAPI makes lists
        metric: Metrics = (),  # type: ignore[assignment]
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """The newest readings in the order of time, as moving-average-detector lists them, with their series added."""
        selection = Selection(devices=tuple(device), metrics=tuple(metric))
        with api.readers.connection() as connection:
            rows = reading_log(connection, selection, limit)
        return answer(
            request,
            [
                {
                    "value": row.reading.value,
                    "timestamp": row.reading.time.timestamp(),
                    "mean": row.mean,
                    "std_dev": row.std,
                    "device_id": row.reading.device_id,
                    "metric": row.reading.metric,
                }
                for row in rows
            ],
        )
