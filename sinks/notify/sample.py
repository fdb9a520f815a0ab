"""A sample to every target of a route: does it arrive?"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

from pydantic import SecretStr

from schemas.clock import Clock
from schemas.errors import ConfigError
from schemas.readings import AnomalySeverity
from schemas.settings import Settings
from sinks.notify.alarms import Alarm
from sinks.notify.routes import Route, Routes
from sinks.notify.service import targets_of
from sinks.notify.targets import Letter, Target
from sinks.notify.text import Told, Words, write

_THREADS = 8


class UnknownRouteError(ConfigError):
    """The routes file has no route of this name."""


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What became of a sample: `address` and `error` have nothing secret in them."""

    route: str
    target: str
    address: str
    accepted: bool
    error: str = ""


def send_samples(
    settings: Settings, routes: Routes, clock: Clock, route_name: str | None = None
) -> list[SampleResult]:
    """Send a sample to the targets of a route, or of all routes; blocks until each has answered.

    Raises:
        UnknownRouteError: there is no such route.
        ConfigError: Apprise does not know what a target means.
    """
    chosen = routes.routes if route_name is None else (_route(routes, route_name),)
    targets = targets_of(settings, routes)
    dashboard = settings.notify.dashboard_url or ""
    jobs = [
        (route.name, targets[name], _letter(routes.words_of(route, dashboard), clock))
        for route in chosen
        for name in route.targets
    ]
    return _send(jobs)


def send_sample_to(settings: Settings, url: SecretStr, clock: Clock) -> SampleResult:
    """Send a sample to one URL of Apprise's.

    Raises:
        ConfigError: Apprise does not know what it means.
    """
    words = Words("test", Routes((), {}).zone, settings.notify.dashboard_url or "")
    (result,) = _send([("", Target("URL", url, settings.notify.timeout), _letter(words, clock))])
    return result


def _route(routes: Routes, name: str) -> Route:
    route = routes.route(name)
    if route is None:
        names = ", ".join(each.name for each in routes.routes)
        raise UnknownRouteError(f"there is no route {name!r}", f"There are {names}.")
    return route


def _send(jobs: Sequence[tuple[str, Target, Letter]]) -> list[SampleResult]:
    def one(job: tuple[str, Target, Letter]) -> SampleResult:
        route, target, letter = job
        outcome = target.deliver(letter)
        return SampleResult(route, target.name, target.address, outcome.accepted, outcome.error)

    with ThreadPoolExecutor(_THREADS, "notify-test") as pool:
        return list(pool.map(one, jobs))


def _letter(words: Words, clock: Clock) -> Letter:
    now = clock.now_us()
    alarm = Alarm(
        anomaly_id=str(uuid4()),
        device_id="sample-device",
        metric="temperature",
        kind="spike",
        severity=AnomalySeverity.INFO,
        opened_at=now - 60_000_000,
        detected_at=now,
        value=91.2,
        expected=52.0,
        lower=50.1,
        upper=53.9,
        readings=1,
        reason="a sample, to see whether notifications arrive: nothing is wrong",
        type="sample",
        place="nowhere",
    )
    title, body = write([Told(alarm, "OPENED")], words, now)
    anomalies = [{**alarm.to_json(), "state": "OPENED"}]
    return Letter(str(uuid4()), f"[TEST] {title}", body, str(alarm.severity), anomalies)
