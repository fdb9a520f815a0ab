"""`sink notify` put together from the settings."""

import os
from collections.abc import Mapping

from schemas.codec import Codec
from schemas.errors import ConfigError
from schemas.kafka import client_config
from schemas.settings import Settings
from sinks.dead_letters import dead_letter_office_of
from sinks.kafka import consumer_defaults
from sinks.notify.decide import Decider
from sinks.notify.deliveries import Patience
from sinks.notify.routes import Routes
from sinks.notify.routes_file import read_routes
from sinks.notify.targets import Target
from sinks.notify.worker import NotifyOptions, NotifyWorker
from sinks.timescale.connection import connector_of


def routes_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> Routes:
    """The routes that the settings name.

    Raises:
        ConfigError: none are named, or something is wrong with them.
    """
    if settings.notify.routes is None:
        raise ConfigError(
            "notify.routes is not set",
            "Give --routes FILE or SIGMAWATCH_NOTIFY__ROUTES; docs/notifications.md describes the file.",
        )
    return read_routes(settings.notify.routes, environ)


def targets_of(settings: Settings, routes: Routes) -> dict[str, Target]:
    """The targets of routes, by name.

    Raises:
        ConfigError: Apprise does not know what one of them means.
    """
    timeout = settings.notify.timeout
    return {name: Target(name, url, timeout) for name, url in routes.targets.items()}


def decider_of(settings: Settings, routes: Routes) -> Decider:
    """What decides by routes."""
    return Decider(routes, round(settings.notify.max_age * 1e6), settings.notify.dashboard_url or "")


def notify_sink(
    settings: Settings, codec: Codec, *, migrate: bool = True, lease_seconds: float = 60.0
) -> NotifyWorker:
    """`sink notify` as the settings want it; connects to nothing yet.

    Args:
        settings: topic, group, routes, database.
        codec: knows the schemas.
        migrate: build the tables at the start; otherwise they must be there.
        lease_seconds: how long a worker may be silent before another hands over what it has in hand.

    Raises:
        ConfigError: database.url or notify.routes is missing, or something is wrong with the routes.
    """
    routes = routes_of(settings)
    targets = targets_of(settings, routes)
    chosen = settings.notify
    options = NotifyOptions(
        group=chosen.group,
        consumer=client_config(settings.kafka, **consumer_defaults(chosen.group)),
        topic=settings.topics.anomalies,
        patience=Patience(give_up=chosen.give_up),
        lease_seconds=lease_seconds,
        migrate=migrate,
    )
    return NotifyWorker(
        options,
        codec,
        connector_of(settings, name="sigmawatch-notify"),
        decider_of(settings, routes),
        targets,
        dead_letter_office_of(settings, chosen.group),
    )
