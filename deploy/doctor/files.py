"""Checks of what the settings point to: models, rules, notifications, an MQTT broker."""

import os
import socket

from pydantic import SecretStr

from deploy.doctor.check import Context, Finding, check, fail, failure, ok, skipped, warn
from deploy.modelling.folder import models_folder
from schemas.errors import ConfigError, SigmawatchError
from schemas.mqtt.address import Access, parse_address


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
    parts: dict[str, tuple[SecretStr | None, Access]] = {
        "mqtt.url": (settings.mqtt.url, settings.mqtt),
        "bridge.mqtt": (settings.bridge.mqtt, settings.bridge),
        "mqtt_sink.url": (settings.mqtt_sink.url, settings.mqtt_sink),
    }
    return [
        _listens(key, url, access, context.seconds) for key, (url, access) in parts.items() if url is not None
    ] or [skipped("no MQTT broker is set")]


def _listens(key: str, url: SecretStr, access: Access, seconds: float) -> Finding:
    try:
        address = parse_address(url, access, key)
    except ConfigError as error:
        return failure(error)
    try:
        with socket.create_connection((address.host, address.port), timeout=seconds):
            return ok(f"{key}: {address} listens (user and password are not tried)")
    except OSError as error:
        return fail(f"{key}: {address} does not answer: {error.strerror or error}", "Is it running?")
