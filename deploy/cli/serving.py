"""`serve`: the query API, live events, the registry's view and the dashboard, until it is stopped."""

import typer

from deploy.cli.flags import BROKER, DATABASE, REGISTRY, Flag, Given, SettingsCommand, with_settings
from deploy.cli.terminal import say, stop_event
from schemas.web.address import in_url


def add_commands(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command("serve", cls=SettingsCommand, rich_help_panel="For people")(serve)


@with_settings(
    Flag("--host", "api.host", "ADDRESS"),
    Flag("--port", "api.port", "PORT"),
    Flag("--processors", "api.processors", "URLS"),
    Flag("--control", "api.control", "URL"),
    Flag("--rate-limit", "api.rate_limit", "N/second"),
    Flag("--cors-origins", "api.cors_origins", "ORIGINS"),
    DATABASE,
    BROKER,
    REGISTRY,
)
def serve(given: Given) -> None:
    """Serve the dashboard at /, and the query API: devices, series, anomalies, quality, the pipeline, live events.

    Runs until it is stopped. It reads the database and Kafka, and changes neither; a database role with SELECT is
    enough. /docs describes the API. With --processors it also shows how the processors stand, and with --control the
    control API of a running simulation is served beside the query API (in full below /control), and the dashboard can
    inject faults. Without a schema registry of its own it is one, to be read: /subjects, /schemas/ids/ID.

    On another address than this machine's own it needs a token (SIGMAWATCH_API__TOKEN), which clients send as
    "Authorization: Bearer TOKEN".

    `sigmawatch up` starts it by itself.

    For example:

      sigmawatch serve --database postgresql://reader:secret@db/plant --bootstrap-servers kafka:9092

      sigmawatch serve --processors http://127.0.0.1:6066 --control http://127.0.0.1:8091 --port 8080

      curl localhost:8090/api/v1/anomalies?state=OPENED
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from deploy.serving import run_server  # noqa: PLC0415

    settings = given.begin()
    host = in_url(settings.api.host)
    with stop_event() as stop:
        run_server(
            settings,
            codec_of(settings),
            stop,
            on_listening=lambda port: say(f"dashboard and API at http://{host}:{port}/"),
        )
