"""`ingest`: readings by HTTP, until it is stopped."""

import typer

from deploy.cli.flags import BROKER, REGISTRY, Flag, Given, SettingsCommand, with_settings
from deploy.cli.terminal import stop_event


def add_commands(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command("ingest", cls=SettingsCommand, rich_help_panel="Producers")(ingest)


@with_settings(
    Flag("--host", "ingest.host", "ADDRESS"),
    Flag("--port", "ingest.port", "PORT"),
    Flag("--device", "ingest.device_id", "ID"),
    Flag("--metric", "ingest.metric", "NAME"),
    Flag("--wait", "ingest.wait", "DURATION"),
    Flag("--rate-limit", "ingest.rate_limit", "N/second"),
    Flag("--cors-origins", "ingest.cors_origins", "ORIGINS"),
    BROKER,
    REGISTRY,
)
def ingest(given: Given) -> None:
    """Take readings by HTTP: POST /detect and POST /readings, one reading or a list; /docs describes them.

    Runs until it is stopped. It answers 200 when Kafka has acknowledged every reading of the request, 503 when it does
    not in time; sending the same again does no harm. An error names the place, as [3].value, and what to do. A list
    is checked whole before any of it is sent: send hundreds of readings at once where you have many.

    What names no device and no metric, as moving-average-detector's {"value": 45.2, "timestamp": 1767225600.0}, is of
    the device `detect` and the metric `value`; --device and --metric choose others for all, ?device_id=...&metric=... for
    one request.

    On another address than this machine's own it needs a token (SIGMAWATCH_INGEST__TOKEN), which clients send as
    "Authorization: Bearer TOKEN".

    For example:

      sigmawatch ingest --bootstrap-servers kafka:9092

      curl localhost:8001/detect --json '{"value": 45.2, "timestamp": 1767225600.0}'

      curl localhost:8001/readings --json '[{"device_id": "boiler-7", "metric": "temperature", "time": "2026-01-01T00:00:00Z", "value": 71.5}]'
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from producers.ingest.commands import run_ingest  # noqa: PLC0415

    settings = given.begin()
    with stop_event() as stop:
        run_ingest(settings, codec_of(settings), stop)
