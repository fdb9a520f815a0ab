"""Checks of what the settings point to: models, rules, notifications, an MQTT broker."""

import os
import socket
from urllib.parse import urlsplit

from deploy.doctor.check import Context, Finding, check, fail, failure, ok, skipped, warn
from deploy.modelling.folder import models_folder
from schemas.errors import ConfigError, SigmawatchError

_MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


@check("models")
def look_at_models(context: Context) -> list[Finding]:
    """The folder of trained models, each read as a processor reads it."""
    folder = models_folder(context.known)
    if not folder.is_dir():
        if context.known.models.folder is not None:
            return [
                warn(f"there is no folder {folder}", "Make it, or train models: `sigmawatch models train`.")
            ]
        return [skipped(f"no models are in {folder}")]
    from processors.models.store import load_models  # noqa: PLC0415 - numpy and its like

    models = load_models(folder)
    refused = [
        warn(f"{path}: {why}", "Train it again, or take the file away.")
        for path, why in sorted(models.refused.items())
    ]
    return [ok(f"{len(models.usable)} models in {folder}"), *refused]


@check("rules")
def look_at_rules(context: Context) -> Finding:
    """The rules file of the detector."""
    path = context.known.processor.rules
    if path is None:
        return skipped("no rules file is set")
    from processors.detection.rules import RulesError, read_rules  # noqa: PLC0415 - slow to import

    try:
        rules = read_rules(path)
    except RulesError as error:
        return fail(f"{path}: {'; '.join(error.problems)}", error.remedy)
    except ConfigError as error:
        return failure(error)
    return ok(f"{path}: {len(rules.rules)} rules")


@check("notifications")
def look_at_notifications(context: Context) -> Finding:
    """The file of targets and routes; nobody is told anything."""
    path = context.known.notify.routes
    if path is None:
        return skipped("no notify.routes is set")
    from sinks.notify.routes_file import read_routes  # noqa: PLC0415 - Apprise and its like
    from sinks.notify.service import targets_of  # noqa: PLC0415

    try:
        routes = read_routes(path, os.environ if context.environ is None else context.environ)
        targets_of(context.known, routes)
    except SigmawatchError as error:
        return failure(error)
    return ok(f"{path}: {len(routes.routes)} routes")


@check("MQTT")
def look_at_mqtt(context: Context) -> list[Finding]:
    """The MQTT brokers of the settings: whether something listens there."""
    settings = context.known
    addresses = {
        "mqtt.url": settings.mqtt.url,
        "bridge.mqtt": settings.bridge.mqtt,
        "mqtt_sink.url": settings.mqtt_sink.url,
    }
    named = {key: address.get_secret_value() for key, address in addresses.items() if address is not None}
    if not named:
        return [skipped("no MQTT broker is set")]
    return [_listens(key, url, context.seconds) for key, url in named.items()]


def _listens(key: str, url: str, seconds: float) -> Finding:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port or _MQTT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return fail(f"{key}: not an address", "Write mqtt://HOST:PORT.")
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return ok(f"{key}: {host}:{port} listens (user and password are not tried)")
    except OSError as error:
        return fail(f"{key}: {host}:{port} does not answer: {error.strerror or error}", "Is it running?")
