"""The command simulate as a function: settings and options in, a summary out."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import structlog

from producers.clock import Clock, SystemClock
from producers.control.local import LocalControl
from producers.control.shards import Shard, parse_shard
from producers.options import SimulateOptions
from producers.outputs.file import FileOutput
from producers.outputs.kafka import KafkaOutput
from producers.outputs.output import ReadingOutput, open_output
from producers.outputs.troubled import TroubledOutput
from producers.publish import Outlet
from producers.simulation.assembling import (
    Arrays,
    Saving,
    commanding,
    make_fleet,
    reloading,
    resume_fleet,
    scheduling,
)
from producers.simulation.board import StatusBoard
from producers.simulation.choosing import Chosen, choose
from producers.simulation.control import CommandQueue, SimulationStatus
from producers.simulation.device_fleet import DeviceFleet
from producers.simulation.fault_log import FaultLog
from producers.simulation.schedule import time_bounds
from producers.simulation.simulator import (
    Chore,
    Output,
    SimulateProgress,
    SimulateSummary,
    Simulator,
    TendedOutput,
)
from producers.troubles import SendPublisher, Sends, Troubles, parse_troubles
from schemas.codec import Codec
from schemas.errors import ConfigError
from schemas.kafka import Publisher, client_config
from schemas.settings import Settings
from schemas.sources import schema_source

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Start:
    """A fleet and what was saved with it."""

    fleet: DeviceFleet
    saved: dict[str, Any]
    arrays: Arrays
    path: Path | None


def run_simulate(
    settings: Settings,
    options: SimulateOptions,
    *,
    stop: Event | None = None,
    on_progress: Callable[[SimulateProgress], None] | None = None,
    on_listening: Callable[[int], None] | None = None,
    codec: Codec | None = None,
    clock: Clock | None = None,
    publisher: Outlet | None = None,
) -> SimulateSummary:
    """Simulate a fleet, with its control API if `settings.control` says so. Blocks as `Simulator.run`.

    Readings go to Kafka, to a file if the options name one, or to the MQTT broker that `settings.mqtt` names.

    Args:
        settings: brokers, topics, control.
        options: what to simulate, and where to.
        stop: ends it early, with everything sent acknowledged.
        on_progress: called about twice a second.
        on_listening: called with the port of the control API.
        codec: encodes; without it one on the registry, or the catalogue.
        clock: replaced in tests.
        publisher: for Kafka; without it one of its own.

    Raises:
        ConfigError: an option, a file or a setting makes no sense.
        InputError: a file cannot be read or written.
        PublishError: the broker refused a message for good.
        SigmawatchError: the MQTT broker refuses us.
    """
    clock, stop = clock or SystemClock(), stop or Event()
    chosen = choose(options)
    if chosen.warning:
        _log.warning(chosen.warning)
    start = _start(chosen)
    fleet, shard = start.fleet, parse_shard(options.shard)
    queue = CommandQueue()

    def status() -> SimulationStatus:
        connected = output.connected if isinstance(output, TendedOutput) else None
        return replace(board.status(), mqtt_connected=connected)

    control = LocalControl(queue, status)
    board = StatusBoard(fleet, shard, control.running, clock)
    bounds = time_bounds(settings)
    with ExitStack() as stack:
        output = stack.enter_context(_output(settings, chosen, start, queue, clock, codec, publisher))
        saving = _saving(start, output, clock)
        chores: list[Chore] = [
            commanding(fleet, queue),
            board,
            *_chores(settings, chosen, options, fleet, output, saving, clock),
        ]
        schedule = scheduling(fleet, chosen.options, bounds, chosen.timeline, start.saved)
        simulator = Simulator(
            fleet,
            output,
            schedule,
            clock,
            chores=chores,
            running=control.running,
            # Else a fault of a few readings would come and go within a piece, and the log miss it.
            longest_us=fleet.interval_us if _tells_faults(settings) else None,
        )
        stack.enter_context(_controlled(settings, control, chosen, shard, on_listening))
        clock.wait(chosen.legacy.start_delay, stop)

        def report(progress: SimulateProgress) -> None:
            board.report(progress)
            if on_progress is not None:
                on_progress(progress)

        summary = simulator.run(stop, report)
        if saving:
            saving.save()
        if isinstance(output, TroubledOutput):
            summary = replace(summary, troubles=asdict(output.counts))
        return summary


def _chores(
    settings: Settings,
    chosen: Chosen,
    options: SimulateOptions,
    fleet: DeviceFleet,
    output: Output,
    saving: Saving | None,
    clock: Clock,
) -> list[Chore]:
    """What is done between two pieces, as options and settings ask for it."""
    chores: list[Chore] = []
    if isinstance(output, TendedOutput):
        chores.append(output.tend)
    own = chosen.legacy.reload_interval
    every = settings.simulate.reload if own is None else own
    if every > 0.0 and chosen.files:
        chores.append(reloading(fleet, chosen, options, every, clock))
    if saving:
        chores.append(saving)
    if _tells_faults(settings):
        chores.append(FaultLog(fleet))
    return chores


def _tells_faults(settings: Settings) -> bool:
    return settings.log.level == "debug"


def _start(chosen: Chosen) -> _Start:
    """The fleet, fresh or as it was saved."""
    options = chosen.options
    if not options.resume:
        return _Start(make_fleet(chosen), {}, {}, None)
    if options.state is None:
        raise ConfigError(
            "a simulation that is to be resumed needs a file for its state", "Give --state FILE."
        )
    path = options.state
    saved = {"shard": options.shard, "spec": chosen.spec.model_dump(mode="json")}
    if not path.exists():
        return _Start(make_fleet(chosen), saved, {}, path)
    fleet, before, arrays = resume_fleet(chosen, path)
    _log.info("going on from the saved state", file=str(path), position_us=fleet.position_us)
    return _Start(fleet, {**before, **saved}, arrays, path)


def _controlled(
    settings: Settings,
    control: LocalControl,
    chosen: Chosen,
    shard: Shard,
    on_listening: Callable[[int], None] | None,
) -> AbstractContextManager[Any]:
    """The control API and the exchange with other shards, where they are asked for."""
    if shard.is_whole and not settings.control.enabled:
        return nullcontext()
    # FastAPI takes as long to import as all the rest.
    from producers.control.app import controlled  # noqa: PLC0415

    return controlled(settings, control, lambda: chosen.catalogue.types, shard, on_listening)


def _saving(start: _Start, output: Output, clock: Clock) -> Saving | None:
    if start.path is None:
        return None
    arrays = output.snapshot if isinstance(output, TroubledOutput) else dict
    return Saving(start.fleet, start.path, output, clock, start.saved, arrays)


@contextmanager
def _output(
    settings: Settings,
    chosen: Chosen,
    start: _Start,
    queue: CommandQueue,
    clock: Clock,
    codec: Codec | None,
    publisher: Outlet | None,
) -> Iterator[Output]:
    """Where the readings go."""
    options, table = chosen.options, start.fleet.table
    if settings.mqtt.url is not None:
        _require_nothing_beside_mqtt(options)
        from producers.mqtt.output import mqtt_output  # noqa: PLC0415 - brings the API's models with it

        with mqtt_output(settings.mqtt, start.fleet, queue, parse_shard(options.shard), clock) as mqtt:
            yield mqtt
        return
    troubles = _troubles(chosen, start)
    if options.to is not None:
        with open_output(options.to, table, format=options.format, overwrite=options.overwrite) as file:
            plain = FileOutput(file)
            yield TroubledOutput(plain, troubles, _sending_to(file)) if troubles else plain
        return
    codec = codec or Codec(schema_source(settings))
    with ExitStack() as stack:
        outlet = publisher or stack.enter_context(Publisher(client_config(settings.kafka)))
        kafka = KafkaOutput(outlet, codec, settings.topics, table)
        if troubles is None:
            yield kafka
            return
        sends = SendPublisher(outlet, codec, settings.topics.readings, table, time_bounds(settings))
        yield TroubledOutput(kafka, troubles, sends.publish)


def _require_nothing_beside_mqtt(options: SimulateOptions) -> None:
    if options.to is not None:
        raise ConfigError(
            "readings go to one place: to the file of --to, or to the MQTT broker of --mqtt (mqtt.url)",
            "Leave one of them out.",
        )
    if options.troubles:
        raise ConfigError(
            "--trouble goes with Kafka or a file, not with MQTT, whose messages are of several readings",
            "Leave out --trouble or --mqtt.",
        )


def _troubles(chosen: Chosen, start: _Start) -> Troubles | None:
    """The troubles that the options ask for, as they were saved."""
    options = chosen.options
    if not options.troubles:
        return None
    asked = parse_troubles(options.troubles)
    if options.to is not None and asked.malformed.active:
        raise ConfigError("malformed messages are no readings for a file", "Leave out malformed, or --to.")
    troubles = Troubles(asked, chosen.seed, start.fleet.table)
    if start.arrays:
        troubles.restore(dict(start.arrays))
    return troubles


def _sending_to(file: ReadingOutput) -> Callable[[Sends, int], None]:
    return lambda sends, now_us: file.publish(sends.batch, now_us)
