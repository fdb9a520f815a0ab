"""One server for people: the query API with its live events, the registry's view, the control paths, the dashboard.

Put together here, as the parts know nothing of each other: quality is measured by `deploy.quality`, processors are asked
at their web views, and a simulation's control API is passed on beside the rest (`deploy.control_proxy`).
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore, Event
from typing import TYPE_CHECKING, Any

import httpx

from deploy.control_client import ControlClient
from schemas.codec import Codec
from schemas.errors import SigmawatchError
from schemas.settings import Settings
from schemas.times import to_datetime, to_us
from schemas.web.app import serve
from sinks.api.app import query_api, query_app
from sinks.api.context import Api
from sinks.dashboard import (
    OPEN_PATHS,
    DashboardSources,
    FaultQuality,
    PartitionFigures,
    PipelineFigures,
    QualityFigures,
    mount_dashboard,
)
from sinks.notify.api import notify_router
from sinks.queries.connection import DatabaseAwayError, Readers

if TYPE_CHECKING:
    from fastapi import FastAPI

    from deploy.quality.stored import StoredQuality

_PAGE_SECONDS = 3.0
_QUALITY_WAIT_SECONDS = 5.0


class ProcessorsAwayError(SigmawatchError):
    """No processor answers, or nobody said where they are."""


def run_server(
    settings: Settings,
    codec: Codec,
    stop: Event,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Serve until `stop` is set; blocks.

    Args:
        settings: `api`, `database`, `kafka`, `topics`.
        codec: for this alone.
        stop: ends it, open streams too.
        on_listening: called with the port.

    Raises:
        ConfigError: no database is named, the address is taken, or is off loopback without a token.
    """
    with serving(settings, codec, stop) as app:
        serve(app, settings.api, stop, on_listening=on_listening)


@contextmanager
def serving(settings: Settings, codec: Codec, stop: Event) -> Iterator["FastAPI"]:
    """The app, with all that it stands on at work.

    Raises:
        ConfigError: as `run_server`.
    """
    with ExitStack() as stack:
        api = stack.enter_context(query_api(settings, codec))
        api.stop = stop
        processors = Processors(settings.api.processors) if settings.api.processors else None
        if processors is not None:
            stack.callback(processors.close)
        control = _control_client(settings)
        if control is not None:
            stack.enter_context(control)
        yield people_app(settings, api, processors, control)


def people_app(
    settings: Settings, api: Api, processors: "Processors | None" = None, control: ControlClient | None = None
) -> "FastAPI":
    """All that people get at one address.

    Args:
        settings: `api`, `notify`, `processor`, `topics`, `schema_registry`.
        api: what the query API stands on; is told here where quality and the pipeline's state come from.
        processors: where they are asked, if anywhere.
        control: for the dashboard, where `settings.api.control` names a control API.

    Raises:
        ConfigError: the address is off loopback, and no token is set.
    """
    api.quality = QualityReader(api.readers)
    api.pipeline = None if processors is None else processors.as_json
    app = query_app(settings, api, OPEN_PATHS)
    app.include_router(notify_router(settings))
    mount_dashboard(app, dashboard_sources(settings, api.readers, control, processors))
    if settings.api.control is not None:
        # Last, as it takes the paths that are left.
        from deploy.control_proxy import add_control  # noqa: PLC0415 - a server without a simulation needs none

        add_control(app, settings.api.control, _control_token(settings), settings.api.cors_origins)
    return app


def _control_client(settings: Settings) -> ControlClient | None:
    url = settings.api.control
    return None if url is None else ControlClient(url, _control_token(settings))


def _control_token(settings: Settings) -> str | None:
    token = settings.api.control_token
    return None if token is None else token.get_secret_value()


class QualityReader:
    """Detection against ground truth, of what is stored.

    Args:
        readers: connections to the database.
    """

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._one = BoundedSemaphore()

    def __call__(self, begin: datetime, end: datetime) -> Mapping[str, Any]:
        """As `sigmawatch quality --json` has it; empty where there is no ground truth.

        Raises:
            DatabaseAwayError: the database does not answer in time.
        """
        from deploy.quality.report import as_json, rules_as_json  # noqa: PLC0415
        from deploy.quality.stored import NoGroundTruthError  # noqa: PLC0415

        try:
            found = self.stored(begin, end)
        except NoGroundTruthError:
            return {}
        return {
            "overall": {"recall": found.quality.recall, "precision": found.quality.precision},
            **as_json(found.quality),
            "settings": {
                "from": begin,
                "to": end,
                "devices": found.devices,
                "warming_devices": found.warming,
                "readings": found.readings,
                **rules_as_json(found.rules),
            },
        }

    def stored(self, begin: datetime, end: datetime) -> "StoredQuality":
        """The figures themselves; devices that are younger than a day are judged from their first minute on.

        Raises:
            NoGroundTruthError: no reading of the stretch has a fault.
            DatabaseAwayError: the database does not answer in time.
        """
        from deploy.quality.model import Rules  # noqa: PLC0415
        from deploy.quality.stored import stored_quality  # noqa: PLC0415

        warmup = min(timedelta(days=1), (end - begin) / 20)
        rules = Rules(warmup_us=warmup // timedelta(microseconds=1))
        # It takes long, and the others need connections, too.
        if not self._one.acquire(timeout=_QUALITY_WAIT_SECONDS):
            raise DatabaseAwayError(
                "the quality is being measured for somebody else", "Ask again in a moment."
            )
        try:
            with self._readers.connection() as connection:
                return stored_quality(connection, to_us(begin), to_us(end), rules)
        finally:
            self._one.release()


@dataclass(frozen=True, slots=True)
class PartitionNow:
    """What a processor says of one of its partitions."""

    partition: int
    next_offset: int
    committed_offset: int
    lag: int | None
    counts: Mapping[str, int]


class Processors:
    """The processors' web views, asked side by side.

    Args:
        urls: http://HOST:PORT of each.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._http = httpx.Client(timeout=_PAGE_SECONDS, trust_env=False)
        self._threads = ThreadPoolExecutor(
            max_workers=max(1, min(8, len(urls))), thread_name_prefix="processors"
        )

    def close(self) -> None:
        """End; blocks for a question under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def look(self) -> tuple[int, list[PartitionNow]]:
        """(how many are ready, the partitions by number); blocks for some seconds at most.

        Raises:
            ProcessorsAwayError: none answers.
        """
        answers = [found for found in self._threads.map(self._ask, self._urls) if found is not None]
        if not answers:
            raise ProcessorsAwayError("no processor answers", f"Do they run, at {', '.join(self._urls)}?")
        partitions = {one.partition: one for _, found in answers for one in found}
        return sum(ready for ready, _ in answers), [partitions[number] for number in sorted(partitions)]

    def as_json(self) -> Mapping[str, Any]:
        """The same, as /api/v1/pipeline shows it."""
        ready, partitions = self.look()
        lags = [one.lag for one in partitions if one.lag is not None]
        return {
            "ready": ready,
            "lag": sum(lags) if lags else None,
            "dead_letters": sum(one.counts.get("dead_letters", 0) for one in partitions),
            "uncommitted": sum(max(0, one.next_offset - max(0, one.committed_offset)) for one in partitions),
            "partitions": {
                str(one.partition): {
                    "next_offset": one.next_offset,
                    "committed_offset": one.committed_offset,
                    "lag": one.lag,
                    **one.counts,
                }
                for one in partitions
            },
        }

    def _ask(self, url: str) -> tuple[bool, list[PartitionNow]] | None:
        try:
            ready = self._http.get(f"{url}/readyz").status_code == httpx.codes.OK
            pages = self._http.get(f"{url}/partitions").raise_for_status().json()
            lags = lags_of(self._http.get(f"{url}/metrics").raise_for_status().text)
            return ready, [partition_now(int(number), page, lags) for number, page in pages.items()]
        except (httpx.HTTPError, ValueError, KeyError, AttributeError, TypeError):
            return None


def partition_now(number: int, page: Mapping[str, int], lags: Mapping[int, int]) -> PartitionNow:
    """An entry of a processor's page /partitions."""
    named = ("next_offset", "committed_offset")
    counts = {name: int(value) for name, value in page.items() if name not in named}
    return PartitionNow(
        number, int(page["next_offset"]), int(page["committed_offset"]), lags.get(number), counts
    )


def lags_of(metrics: str) -> dict[int, int]:
    """Partition -> readings behind the newest, from a processor's page /metrics.

    Raises:
        ValueError: it is none.
    """
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    return {
        int(sample.labels["partition"]): int(sample.value)
        for family in text_string_to_metric_families(metrics)
        if family.name == "sigmawatch_processor_lag_readings"
        for sample in family.samples
    }


def dashboard_sources(
    settings: Settings, readers: Readers, control: ControlClient | None, processors: Processors | None
) -> DashboardSources:
    """Where the dashboard gets what it shows."""
    quality = QualityReader(readers)

    def measured(length: timedelta) -> QualityFigures:
        now = datetime.now(UTC)
        return quality_figures(quality.stored(now - length, now))

    return DashboardSources(
        connection=readers.connection,
        control=control.call if control else None,
        quality=measured,
        pipeline=None if processors is None else lambda: pipeline_figures(*processors.look()),
        warmup_readings=settings.processor.minimum_readings,
        readings_topic=settings.topics.readings,
    )


def pipeline_figures(ready: int, partitions: Sequence[PartitionNow]) -> PipelineFigures:
    """The processors as the dashboard takes them."""
    names = ("series", "warming", "watched", "open", "dead_letters")
    return PipelineFigures(
        ready,
        [
            PartitionFigures(
                partition=one.partition,
                next_offset=one.next_offset,
                committed_offset=one.committed_offset,
                lag=one.lag,
                **{name: one.counts.get(name, 0) for name in names},
            )
            for one in partitions
        ],
    )


def quality_figures(found: "StoredQuality") -> QualityFigures:
    """Detection as the dashboard takes it; the median delay is that over the kinds of faults."""
    quality = found.quality
    faults = [
        FaultQuality(name, score.events, score.detected, score.median_delay_s)
        for name, score in quality.faults.items()
    ]
    delays = [one.median_delay_s for one in faults if one.median_delay_s is not None]
    return QualityFigures(
        begin=to_datetime(found.begin_us),
        end=to_datetime(found.end_us),
        devices=found.devices,
        warming=found.warming,
        events=quality.events,
        detected=quality.detected,
        recall=quality.recall,
        precision=quality.precision,
        false_alarms=quality.false_alarms,
        median_delay_s=statistics.median(delays) if delays else None,
        faults=faults,
    )
