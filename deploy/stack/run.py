"""A run of `sigmawatch up`: start, let readings flow, drain, count, stop.

Completeness is never measured by what a broker calls its latest offset, but by what the producer had
acknowledged; a time limit stands only where nothing moves any more.
"""

import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from deploy.embedded import free_port
from deploy.reading import ends_of
from deploy.reconcile import Verdict, judge
from deploy.stack.counting import Baseline, counted_topics, gather
from deploy.stack.database import Database
from deploy.stack.draining import STALLED_SECONDS, let_go_of_workers, until_applied, until_stored
from deploy.stack.maintaining import Maintainer
from deploy.stack.measuring import quality_of_run
from deploy.stack.parts import Part, PartError
from deploy.stack.plan import Source, environment
from deploy.stack.preparing import prepare
from deploy.stack.progress import Progress, StalledError
from deploy.stack.services import Services, start_services, with_services
from deploy.stack.watching import PartitionState, Watcher, look_at_workers
from deploy.stack.web import ControlAddress, WebPart, choose_port, control_address
from schemas.errors import SigmawatchError

if TYPE_CHECKING:
    from deploy.stack.display import Display
    from schemas.settings import Settings

_TURN_SECONDS = 0.1
_READY_SECONDS = 120.0  # for the parts to start on a loaded machine, compiling loops the first time
_WEB_SECONDS = 20.0  # beyond which the run begins without waiting for its dashboard
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wish(Enum):
    """What the user wants by now."""

    RUN = 0
    DRAIN = 1
    LEAVE = 2


class LeaveError(Exception):
    """The user does not want to wait any longer."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is told.

    Attributes:
        settings: of all parts; broker and database are filled in where they are embedded.
        source: of the readings.
        state: the state folder.
        broker: tansu or kafka, where it is embedded.
        own_broker: the user named one.
        own_database: likewise.
        workers: how many processors.
        web: whether the dashboard and the API are served.
        environ: this process's environment.
    """

    settings: "Settings"
    source: Source
    state: Path
    broker: str = "tansu"
    own_broker: bool = False
    own_database: bool = False
    workers: int = 1
    web: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)


class Run:
    """One run. `execute` blocks until it is over; call it from the main thread.

    Args:
        options: what to do.
        display: what people see.
    """

    def __init__(self, options: RunOptions, display: "Display") -> None:
        self._options = options
        self._settings = options.settings
        self._display = display
        self._wish = Wish.RUN
        self._workers: list[Part] = []
        self._ports: list[int] = []
        self._sink: Part | None = None
        self._producer: Part | None = None
        self._web: WebPart | None = None
        self._web_port = 0
        self._control: ControlAddress | None = None
        self._watcher: Watcher | None = None
        self._services: Services | None = None
        self._problems: list[str] = []
        self._partitions = 0
        self._report = options.state / "up" / "deliveries.json"
        self._logs = options.state / "logs"

    def execute(self) -> Verdict:
        """Run to the end; gives what became of the readings.

        Raises:
            LeaveError: the user left before it was counted.
            SigmawatchError: something cannot be had, does not start, or fails for good.
        """
        with ExitStack() as stack:
            stack.enter_context(self._heeding_signals())
            stack.callback(self._display.close)
            if self._options.web:
                self._web_port = choose_port(self._settings)
            self._start_services(stack)
            stack.callback(self._stop_parts)
            topic_ids, since = self._prepare()
            self._start_parts()
            maintainer = Maintainer(self._settings, self._display.tell)
            maintainer.start()
            stack.callback(maintainer.stop)
            baseline = self._stand(since)
            self._watcher = Watcher(self._settings, lambda: self._ports, self._report, topic_ids, since)
            self._watcher.start()
            stack.callback(self._watcher.stop)
            self._flow()
            verdict = self._drain_and_count(baseline)
            self._display.close()
            return verdict

    # -- the user

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._wish = Wish.DRAIN if self._wish is Wish.RUN else Wish.LEAVE

    def _turn(self) -> None:
        """A moment of waiting: parts are looked after, the view is drawn, the user is heard.

        Raises:
            LeaveError: at the second Ctrl-C.
            SigmawatchError: a part fails for good.
        """
        if self._wish is Wish.LEAVE:
            raise LeaveError
        self._look_after_services()
        for part in self._parts():
            part.check()
        if self._web is not None:
            self._web.check()
        if self._watcher is not None:
            self._display.show(self._watcher.now)
        time.sleep(_TURN_SECONDS)

    def _parts(self) -> list[Part]:
        return [part for part in (*self._workers, self._sink, self._producer) if part is not None]

    def _look_after_services(self) -> None:
        services = self._services
        if services is None:
            return
        if services.broker is not None and services.broker_is_dead():
            if services.broker.name == "tansu":
                raise PartError(
                    "the embedded broker ended, and what it held in memory is lost",
                    f"Its log is {services.broker.log_file}. `--broker kafka` keeps its log on disk.",
                )
            self._display.tell("the embedded broker ended; starting it again")
            services.broker.restart()
        if services.database is not None and services.database_is_dead():
            self._display.tell("the embedded database ended; starting it again")
            services.database.restart()

    # -- start

    def _start_services(self, stack: ExitStack) -> None:
        options = self._options
        self._services = services = start_services(
            self._settings,
            options.state,
            options.broker,
            own_broker=options.own_broker,
            own_database=options.own_database,
            tell=self._display.tell,
            stack=stack,
        )
        self._settings = with_services(self._settings, services)
        self._check_wish()

    def _check_wish(self) -> None:
        """Before readings flow there is nothing to drain: any Ctrl-C ends the run."""
        if self._wish is not Wish.RUN:
            raise LeaveError

    def _prepare(self) -> tuple[dict[str, str], datetime]:
        prepared = prepare(self._settings, self._display.tell)
        self._partitions = prepared.partitions
        return prepared.topic_ids, prepared.since

    def _start_parts(self) -> None:
        options, settings, tell = self._options, self._settings, self._display.tell
        common = environment(settings, options.environ)
        shutil.rmtree(self._report.parent / "parts", ignore_errors=True)
        self._report.unlink(missing_ok=True)
        self._ports = []
        for number in range(1, options.workers + 1):
            port = free_port()
            self._ports.append(port)
            name = "processor" if options.workers == 1 else f"processor {number}"
            self._workers.append(
                Part(
                    name,
                    lambda: ("process",),
                    {
                        **common,
                        "SIGMAWATCH_PROCESSOR__WEB_PORT": str(port),
                        "SIGMAWATCH_PROCESSOR__WEB_HOST": "127.0.0.1",
                    },
                    self._log_file(name),
                    tell,
                )
            )
        self._sink = Part(
            "sink",
            lambda: ("sink", "timescale"),
            {
                **common,
                "SIGMAWATCH_SINK__METRICS_PORT": str(free_port()),
                "SIGMAWATCH_SINK__METRICS_HOST": "127.0.0.1",
            },
            self._log_file("sink"),
            tell,
        )
        for part in (self._sink, *self._workers):
            part.start()
        self._start_web(common)
        self._wait_until_ready()
        self._wait_for_web()

    def _start_web(self, common: Mapping[str, str | None]) -> None:
        if not self._options.web:
            return
        if self._options.source.file is None:
            self._control = control_address(self._settings)
        self._web = WebPart(
            self._settings,
            self._web_port,
            common,
            self._ports,
            self._control,
            self._log_file("serve"),
            self._display.tell,
        )
        self._web.start()

    def _wait_for_web(self) -> None:
        """Let people find the dashboard at the address that they are told."""
        deadline = time.monotonic() + _WEB_SECONDS
        while self._web is not None and self._web.starting and time.monotonic() < deadline:
            self._check_wish()
            self._turn()
        if self._web is not None and not self._web.given_up:
            self._display.tell(f"dashboard and API: {self._web.address}")

    def _log_file(self, name: str) -> Path:
        return self._logs / f"{name.replace(' ', '-')}.log"

    def _wait_until_ready(self) -> None:
        """Until every partition has a processor that says it is ready."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            partitions, ready = look_at_workers(self._ports)
            if ready == len(self._workers) and len(partitions) >= self._partitions:
                workers = "processor" if len(self._workers) == 1 else f"{len(self._workers)} processors"
                self._display.tell(f"{workers} and sink are running; their logs are in {self._logs}")
                return
            self._check_wish()
            self._turn()
            for part in self._parts():
                if not part.stable:
                    raise PartError(
                        f"{part.name} does not start: {part.last_words()}", f"Its log is {part.log_file}."
                    )
            if time.monotonic() > deadline:
                raise PartError(
                    f"the processor was not ready after {_READY_SECONDS:.0f} s",
                    f"Its log is {self._workers[0].log_file}.",
                )

    def _stand(self, since: datetime) -> Baseline:
        """Let the processors catch up with what lies in the topic, then note where everything stands."""
        settings, readings = self._settings, self._settings.topics.readings
        ends = ends_of(settings, [readings, *counted_topics(settings)])
        wanted = {number: end for (topic, number), end in ends.items() if topic == readings}
        partitions = until_applied(self._ports, wanted, self._turn)
        return Baseline(ends, partitions, since)

    # -- run

    def _flow(self) -> None:
        source, display = self._options.source, self._display
        assert self._services is not None
        assert self._watcher is not None
        began = time.monotonic()
        started = iter([0.0])
        # The command is asked for at each start: after a failure the rest of the time is left.
        self._producer = Part(
            source.name,
            lambda: (
                *source.command_for(next(started, time.monotonic() - began)),
                "--report",
                str(self._report),
            ),
            environment(self._settings, self._options.environ)
            | (self._control.environment if self._control else {}),
            self._log_file("producer"),
            display.tell,
            ends_by_itself=True,
            before_restart=self._watcher.producer_ended,
        )
        display.flowing(self._places())
        self._producer.start()
        deadline = None if source.seconds is None or source.file is None else began + source.seconds
        while self._wish is Wish.RUN and not self._producer.finished:
            self._turn()
            if not self._producer.stable:
                raise PartError(
                    f"{source.name}: {self._producer.last_words()}", f"Its log is {self._producer.log_file}."
                )
            if deadline is not None and time.monotonic() >= deadline:
                break
            if self._services.broker_memory_is_full():
                display.tell(
                    "the embedded broker keeps all messages in memory and holds a quarter of the machine's by now: "
                    "ending in order (`--broker kafka` keeps them on disk)"
                )
                break
        self._stop_producer()

    def _places(self) -> str:
        """Where what is."""
        assert self._services is not None
        dashboard = f", dashboard {self._web.address}" if self._web and not self._web.given_up else ""
        return f"{self._services.places}, web view http://127.0.0.1:{self._ports[0]}/partitions{dashboard}"

    def _stop_producer(self) -> None:
        """Ask it to end, with everything it sent acknowledged."""
        assert self._producer is not None
        if not self._producer.finished:
            self._display.phase("stopping the producer")
            self._producer.ask_to_stop()
            moved = Progress(STALLED_SECONDS)
            while self._producer.alive:
                self._turn()
                assert self._watcher is not None
                if moved.stalled(self._watcher.delivered().total(self._settings.topics.readings)):
                    self._problems.append(
                        "the producer did not end: the broker acknowledged nothing any more"
                    )
                    break
            self._producer.stop()

    # -- drain

    def _drain_and_count(self, baseline: Baseline) -> Verdict:
        assert self._watcher is not None
        assert self._producer is not None
        settings, readings = self._settings, self._settings.topics.readings
        self._display.phase("draining")
        delivered = self._watcher.delivered()
        ends = {number: baseline.ends.get((readings, number), 0) for number in baseline.partitions}
        ends |= delivered.ends(readings)
        if not delivered.finished or self._producer.restarts:
            # A producer that was killed may have had more acknowledged than it could tell.
            for (topic, number), end in ends_of(settings, [readings]).items():
                if topic == readings:
                    ends[number] = max(ends.get(number, 0), end)
        partitions: Mapping[int, PartitionState] = {}
        try:
            partitions = until_applied(self._ports, ends, self._turn)
            let_go_of_workers(self._workers, self._ports, settings, ends, self._turn, self._display.tell)
            anomalies = ends_of(settings, [settings.topics.anomalies])
            stored = {(readings, number): end for number, end in ends.items()} | anomalies
            until_stored(self._watcher, stored, self._turn)
        except StalledError as error:
            self._problems.append(error.message)
            partitions = partitions or look_at_workers(self._ports)[0]
        return self._count(baseline, ends, partitions, delivered.total(readings))

    def _count(
        self,
        baseline: Baseline,
        ends: Mapping[int, int],
        partitions: Mapping[int, PartitionState],
        acknowledged: int,
    ) -> Verdict:
        self._display.phase("counting")
        database = Database(self._settings)
        try:
            evidence = gather(
                self._settings, baseline, ends, partitions, acknowledged, database, self._problems
            )
            verdict = judge(evidence)
        finally:
            database.close()
        return replace(verdict, quality=quality_of_run(self._settings, evidence.ledger.span))

    # -- stop

    def _stop_parts(self) -> None:
        """Stop what still runs, in the order in which readings flow."""
        for part in (self._producer, *self._workers, self._sink):
            if part is not None:
                with suppress(SigmawatchError):
                    part.stop()
        if self._web is not None:
            self._web.stop()
