"""`/simulation`: whether virtual time moves."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from producers.control.context import Api
from producers.control.envelope import Envelope, errors_of
from producers.control.views import iso
from producers.simulation.control import SimulationStatus
from schemas.web.strict_json import StrictRoute


class WorkerOut(BaseModel):
    """One worker of the fleet."""

    shard: str = Field(description="Its part, as 2/3.")
    is_running: bool
    devices: int
    online_devices: int
    enabled_devices: int
    faulty_devices: int
    started: str | None = Field(description="Virtual time of the beginning.")
    time: str | None = Field(description="Virtual time now.")
    interval_seconds: float = Field(description="Virtual time between two readings of a device.")
    behind_seconds: float = Field(description="How far virtual time is behind what it should be.")
    readings_sent: int
    readings_acknowledged: int = Field(description="Of those, the ones that are safe where they go.")
    readings_with_fault: int
    faults: dict[str, int] = Field(description="Fault -> episodes that began.")


class SimulationOut(BaseModel):
    """All workers together."""

    is_running: bool = Field(description="Whether virtual time moves in all of them.")
    total_devices: int
    online_devices: int
    enabled_devices: int
    faulty_devices: int
    mqtt_connected: bool = Field(description="Whether readings go out by MQTT, in Kafka's place, now.")
    simulation_interval: str = Field(description="As iot-mock-service writes it: 5.0 seconds.")
    workers: list[WorkerOut]


def simulation_routes(api: Api) -> APIRouter:
    """The routes of the simulation."""
    routes = APIRouter(route_class=StrictRoute, prefix="/simulation", tags=["simulation"])

    @routes.get("/status", responses=errors_of())
    def simulation_status() -> Envelope[SimulationOut]:
        """Where the simulation stands, in all its workers."""
        return Envelope(
            data=simulation_out(api.control.status()), message="Simulation status retrieved successfully"
        )

    @routes.post("/start", responses=errors_of())
    def start_simulation() -> Envelope[None]:
        """Let virtual time go on."""
        ran = _runs(api)
        api.control.start()
        return Envelope(
            data=None, message="Simulation is already running" if ran else "Device simulation started"
        )

    @routes.post("/stop", responses=errors_of())
    def stop_simulation() -> Envelope[None]:
        """Pause virtual time: no device sends until it is started again; commands are obeyed all the same."""
        ran = _runs(api)
        api.control.stop()
        return Envelope(
            data=None, message="Device simulation stopped" if ran else "Simulation is already stopped"
        )

    return routes


def _runs(api: Api) -> bool:
    return any(status.running for status in api.control.status())


def simulation_out(workers: list[SimulationStatus]) -> SimulationOut:
    """All workers together."""
    interval = max((worker.interval_s for worker in workers), default=0.0)
    return SimulationOut(
        is_running=all(worker.running for worker in workers),
        total_devices=sum(worker.devices for worker in workers),
        online_devices=sum(worker.online for worker in workers),
        enabled_devices=sum(worker.enabled for worker in workers),
        faulty_devices=sum(worker.faulty for worker in workers),
        mqtt_connected=any(worker.mqtt_connected for worker in workers),
        simulation_interval=f"{interval} seconds",
        workers=[_worker(worker) for worker in workers],
    )


def _worker(status: SimulationStatus) -> WorkerOut:
    return WorkerOut(
        shard=f"{status.shard}/{status.shards}",
        is_running=status.running,
        devices=status.devices,
        online_devices=status.online,
        enabled_devices=status.enabled,
        faulty_devices=status.faulty,
        started=iso(status.started_us),
        time=iso(status.time_us),
        interval_seconds=status.interval_s,
        behind_seconds=round(status.behind_s, 3),
        readings_sent=status.sent,
        readings_acknowledged=status.acknowledged,
        readings_with_fault=status.faults,
        faults=status.faults_by_kind,
    )
