"""`process`, `sink timescale` and `sink log`: the parts that read from Kafka, until they are stopped."""

import typer

from deploy.cli import notifying
from deploy.cli.detecting import PRESET, RULES
from deploy.cli.exits import Finished
from deploy.cli.flags import BROKER, DATABASE, REGISTRY, Flag, Given, SettingsCommand, with_settings


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    app.command("process", cls=SettingsCommand, rich_help_panel="Consumers")(process)
    sinks = typer.Typer(
        no_args_is_help=True,
        help="Store readings and anomalies, write anomalies to a file, tell people of them, or publish them by MQTT.",
    )
    sinks.command("timescale", cls=SettingsCommand)(sink_timescale)
    sinks.command("log", cls=SettingsCommand)(sink_log)
    notifying.add_sinks(sinks)
    app.add_typer(sinks, name="sink", rich_help_panel="Consumers")


@with_settings(
    Flag("--group", "processor.group", "NAME"),
    PRESET,
    RULES,
    Flag("--window", "processor.window", "DURATION"),
    Flag("--panes", "processor.panes", "N"),
    Flag("--k", "processor.k", "NUMBER"),
    Flag("--minimum-readings", "processor.minimum_readings", "N"),
    Flag("--sides", "processor.sides", "SIDES"),
    Flag("--checkpoint-interval", "processor.checkpoint_interval", "DURATION"),
    Flag("--web-host", "processor.web_host", "ADDRESS"),
    Flag("--web-port", "processor.web_port", "PORT"),
    BROKER,
    REGISTRY,
)
def process(given: Given) -> None:
    """Find anomalies: judge each reading by what its series did before, and tell episodes with kind and reason.

    Runs until it is stopped. Start as many as you like with the same group, up to the number of partitions: they
    share the work, and take over from one that fails. State is kept in Kafka. What it knows of a device is on
    http://WEB_HOST:WEB_PORT/devices/ID, beside /partitions, /metrics, /livez and /readyz.

    For example:

      sigmawatch process --bootstrap-servers kafka:9092 --rules plant-rules.yaml

      sigmawatch process --preset moving-average --window 1h --k 5

      sigmawatch process --web-port 6076     a second worker on the same machine
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from deploy.modelling.folder import with_models_folder  # noqa: PLC0415
    from processors.worker import run_worker  # noqa: PLC0415

    settings = with_models_folder(given.begin())
    raise Finished(run_worker(settings, codec_of(settings)))


@with_settings(
    Flag("--group", "sink.group", "NAME"),
    Flag("--batch-readings", "sink.batch_readings", "N"),
    Flag("--batch-interval", "sink.batch_interval", "DURATION"),
    Flag("--metrics-host", "sink.metrics_host", "ADDRESS"),
    Flag("--metrics-port", "sink.metrics_port", "PORT"),
    DATABASE,
    BROKER,
    REGISTRY,
)
def sink_timescale(given: Given) -> None:
    """Store readings, anomalies and devices in TimescaleDB or plain PostgreSQL, each exactly once.

    Runs until it is stopped. Rows and the offset in Kafka move in one transaction, so neither a crash nor a second
    sink loses or doubles any. Outages of broker and database are waited out. Missing tables are made.

    For example:

      SIGMAWATCH_DATABASE__URL=postgresql://me:secret@db/plant sigmawatch sink timescale --bootstrap-servers kafka:9092
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from sinks.service import serve, timescale_sink  # noqa: PLC0415

    settings = given.begin()
    sink = timescale_sink(settings, codec_of(settings))
    serve(sink, settings.sink.metrics_host, settings.sink.metrics_port)


@with_settings(
    Flag("--group", "log_sink.group", "NAME"),
    Flag("--path", "log_sink.path", "FILE"),
    Flag("--rotate-bytes", "log_sink.rotate_bytes", "N"),
    Flag("--keep-files", "log_sink.keep_files", "N"),
    BROKER,
    REGISTRY,
)
def sink_log(given: Given) -> None:
    """Write anomalies to a file of JSON lines, one a line, rotated by size.

    Runs until it is stopped.

    For example:

      sigmawatch sink log --path /var/log/anomalies.jsonl
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from sinks.service import log_sink, serve  # noqa: PLC0415

    settings = given.begin()
    serve(log_sink(settings, codec_of(settings)))
