"""The control API as an app, and what starts it beside a simulation.

control = LocalControl(queue, status)
with controlled(settings, control, types, shard=parse_shard("1/3")):
    simulator.run(stop)
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Event, Thread

import structlog
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from producers.control.context import Api, Types, own_pages_only
from producers.control.device_routes import device_routes
from producers.control.envelope import answer_in_envelopes
from producers.control.fault_routes import anomaly_routes, fault_routes
from producers.control.local import LocalControl
from producers.control.metrics import SimulationMetrics
from producers.control.monitor_routes import monitor_routes
from producers.control.pulse import Pulse
from producers.control.shards import WHOLE, Shard
from producers.control.simulation_routes import simulation_routes
from producers.simulation.control import Control
from schemas.errors import ConfigError
from schemas.settings import ControlSettings, Settings
from schemas.web.app import new_app, serve

_log = structlog.get_logger(__name__)

PREFIX = "/api/v1"
_START_SECONDS = 10.0

_DESCRIPTION = """
Control of a simulated fleet: devices, faults, virtual time. Every answer is `{success, data, message, errors}`.

The paths and payloads are those of iot-mock-service, and outside the prefix those of the monitor of
sensor-log-generator; `/faults`, `/groups`, `/catalogue` and the filters are ours.
Of a fleet that several workers share, any worker takes any command.
"""


def control_app(control: Control, local: Control, types: Types, settings: ControlSettings) -> FastAPI:
    """The app.

    Args:
        control: the whole fleet.
        local: the simulation of this process.
        types: the device types as they are now.
        settings: address, token, limits.

    Raises:
        ConfigError: the address is off loopback, and no token is set.
    """
    api = Api(control, local, types, settings.timeout, settings.cors_origins)
    registry = CollectorRegistry()
    registry.register(SimulationMetrics(api.here))
    app = new_app(
        "Sigmawatch simulator",
        settings,
        description=_DESCRIPTION,
        registry=registry,
        ready=Pulse(local).trouble,
    )
    answer_in_envelopes(app)
    guarded = APIRouter(dependencies=[own_pages_only(api)])
    for routes in (device_routes(api), fault_routes(api), simulation_routes(api), anomaly_routes(api)):
        guarded.include_router(routes, prefix=PREFIX)
    # As its document has them, without a prefix.
    guarded.include_router(anomaly_routes(api), include_in_schema=True)
    guarded.include_router(monitor_routes(api))
    app.include_router(guarded)
    return app


def run_control(
    app: FastAPI,
    settings: ControlSettings,
    stop: Event,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Serve the app until `stop` is set; blocks, in any thread.

    Raises:
        ConfigError: the address is taken, or none of this machine's.
    """
    serve(app, settings, stop, on_listening=on_listening)


@contextmanager
def controlled(
    settings: Settings,
    local: LocalControl,
    types: Types,
    shard: Shard = WHOLE,
    on_listening: Callable[[int], None] | None = None,
) -> Iterator[Control]:
    """Control of a simulation while the block runs; gives that of the whole fleet. `local` is closed at its end.

    Of a fleet with several shards, this worker takes part in their exchange over Kafka, whether it serves HTTP or not.
    HTTP is served if `control.enabled`.

    Args:
        settings: `control`, and of a fleet with several shards `kafka` and `topics`.
        local: the simulation of this process.
        types: the device types as they are now.
        shard: which part of the fleet it has.
        on_listening: called with the port.

    Raises:
        ConfigError: the address is taken, or is off loopback without a token.
        TopicError: the topics of several workers are missing, or their broker does not answer.
    """
    with ExitStack() as stack:
        control: Control = local
        if not shard.is_whole:
            control = stack.enter_context(_shared(settings, shard, local))
        stack.enter_context(_served(settings.control, control, local, types, on_listening))
        # First of all at the end, so that nobody waits for a simulation that is over.
        stack.callback(local.close)
        yield control


def _shared(settings: Settings, shard: Shard, local: Control) -> AbstractContextManager[Control]:
    from producers.control.bus import Bus  # noqa: PLC0415 - one worker alone needs no Kafka for it
    from producers.control.kafka_control import KafkaControl  # noqa: PLC0415

    return KafkaControl(Bus.of(settings), shard, local)


@contextmanager
def _served(
    settings: ControlSettings,
    control: Control,
    local: Control,
    types: Types,
    on_listening: Callable[[int], None] | None,
) -> Iterator[None]:
    """HTTP on a thread of its own, if it is enabled."""
    if not settings.enabled:
        yield
        return
    app = control_app(control, local, types, settings)
    stop, settled, failures = Event(), Event(), list[ConfigError]()

    def listening(port: int) -> None:
        if on_listening is not None:
            on_listening(port)
        settled.set()

    def run() -> None:
        try:
            run_control(app, settings, stop, listening)
        except ConfigError as error:
            failures.append(error)
        except Exception:  # noqa: BLE001 - the simulation goes on without it
            _log.exception("the control API has ended")
        finally:
            settled.set()

    thread = Thread(target=run, name="control-http", daemon=True)
    thread.start()
    settled.wait(_START_SECONDS)
    if failures:
        raise failures[0]
    try:
        yield
    finally:
        stop.set()
        thread.join()
