"""Outside the prefix: iot-mock-service's / and /health, and the monitor of sensor-log-generator.

They speak of the simulation of this process alone, as probes ask of a process.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from producers.control.context import Api
from producers.control.envelope import errors_of
from producers.control.views import iso, sample_row
from producers.simulation.commands import ListDevices
from producers.simulation.control import SimulationStatus
from schemas.web.strict_json import StrictRoute

_SAMPLES = 10
_NAME = "Sigmawatch simulator"


class Root(BaseModel):
    """What this is."""

    message: str = _NAME
    version: str
    description: str = "Control of a simulated fleet: /docs describes it"


class Health(BaseModel):
    """Health, as iot-mock-service tells it."""

    status: Literal["healthy", "unhealthy"]
    service: str = "sigmawatch-simulator"
    device_manager: Literal["initialized", "not_initialized"] = Field(
        description="Whether the simulation answers."
    )
    device_simulator: Literal["running", "stopped"]
    active_devices: int


class Healthz(BaseModel):
    """Health, as sensor-log-generator tells it."""

    status: Literal["healthy", "unhealthy"]


class Statusz(BaseModel):
    """The simulation of this process."""

    running: bool
    readings_count: int = Field(description="Readings sent.")
    error_count: int = Field(0, description="0: what cannot be sent ends the simulation.")
    elapsed_seconds: float = Field(description="Virtual time since the beginning.")
    readings_per_second: float = Field(description="Mean so far, in virtual time.")
    interval_seconds: float
    behind_seconds: float
    shard: str
    devices: dict[str, int] = Field(description="total, online, enabled, faulty.")
    time: str | None = Field(description="Virtual time.")


class Metricz(BaseModel):
    """Counts of the simulation of this process."""

    simulator: Statusz
    readings: dict[str, int] = Field(description="sent, acknowledged, with_fault.")
    anomalies: dict[str, int] = Field(description="Fault -> episodes that began.")
    timestamp: str | None = Field(description="Virtual time.")


class Stats(BaseModel):
    """Where sensor-log-generator told of its SQLite file: what has gone to Kafka, which has taken its place."""

    storage: str = "kafka"
    total_readings: int = Field(description="Readings that are safe.")
    last_write: str | None = Field(description="Virtual time up to which readings were sent.")
    sync_status: dict[str, float] = Field(
        description="total sent, synced (acknowledged), unsynced, sync_percentage."
    )
    anomalies: dict[str, int] = Field(description="Readings with a fault (total), and episodes by fault.")


def monitor_routes(api: Api) -> APIRouter:
    """The routes outside the prefix."""
    routes = APIRouter(route_class=StrictRoute, tags=["monitor"], responses=errors_of())
    _add_health(routes, api)
    _add_counts(routes, api)
    return routes


def _add_health(routes: APIRouter, api: Api) -> None:
    @routes.get("/")
    def root() -> Root:
        """What this is."""
        return Root(version=_version())

    @routes.get("/health", responses={503: {"model": Health, "description": "It does not answer."}})
    def health(response: Response) -> Health:
        """Whether the simulation answers, with 200 or 503; a paused one does."""
        healthy, here = api.is_turning(), api.here()
        response.status_code = 200 if healthy else 503
        return Health(
            status="healthy" if healthy else "unhealthy",
            device_manager="initialized" if healthy else "not_initialized",
            device_simulator="running" if here.running else "stopped",
            active_devices=here.devices,
        )

    @routes.get("/healthz", responses={503: {"model": Healthz, "description": "It does not answer."}})
    def healthz(response: Response) -> Healthz:
        """Whether the simulation answers, with 200 or 503; a paused one does."""
        healthy = api.is_turning()
        response.status_code = 200 if healthy else 503
        return Healthz(status="healthy" if healthy else "unhealthy")


def _add_counts(routes: APIRouter, api: Api) -> None:
    @routes.get("/statusz")
    def statusz() -> Statusz:
        """Where the simulation of this process stands."""
        return _statusz(api.here())

    @routes.get("/metricz")
    def metricz() -> Metricz:
        """What it has counted; for Prometheus see /metrics."""
        here = api.here()
        return Metricz(
            simulator=_statusz(here),
            readings={"sent": here.sent, "acknowledged": here.acknowledged, "with_fault": here.faults},
            anomalies=here.faults_by_kind,
            timestamp=iso(here.time_us),
        )

    @routes.get("/samplez")
    def samplez() -> list[dict[str, Any]]:
        """The ten newest readings, the newest first, each a row of sensor-log-generator's table with its metrics."""
        newest = ListDevices(limit=_SAMPLES, newest=True)
        return [sample_row(view) for view in api.local.apply(newest, api.timeout).devices]

    @routes.get("/db_stats")
    def db_stats() -> Stats:
        """What has gone to Kafka."""
        here = api.here()
        share = 100.0 * here.acknowledged / here.sent if here.sent else 100.0
        return Stats(
            total_readings=here.acknowledged,
            last_write=iso(here.time_us),
            sync_status={
                "total": here.sent,
                "synced": here.acknowledged,
                "unsynced": here.sent - here.acknowledged,
                "sync_percentage": round(share, 2),
            },
            anomalies={"total": here.faults, **here.faults_by_kind},
        )


def _statusz(here: SimulationStatus) -> Statusz:
    elapsed = max(0.0, (here.time_us - here.started_us) / 1e6)
    return Statusz(
        running=here.running,
        readings_count=here.sent,
        elapsed_seconds=elapsed,
        readings_per_second=round(here.sent / elapsed, 3) if elapsed else 0.0,
        interval_seconds=here.interval_s,
        behind_seconds=round(here.behind_s, 3),
        shard=f"{here.shard}/{here.shards}",
        devices={
            "total": here.devices,
            "online": here.online,
            "enabled": here.enabled,
            "faulty": here.faulty,
        },
        time=iso(here.time_us),
    )


def _version() -> str:
    try:
        return version("sigmawatch")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "unknown"
