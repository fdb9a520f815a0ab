"""`sink notify`, `sink mqtt`, and `notify test|check|status`: anomalies to people and to an MQTT broker."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.exits import REFUSED, Finished
from deploy.cli.flags import BROKER, DATABASE, REGISTRY, Flag, Given, SettingsCommand, with_settings
from deploy.cli.terminal import answers, print_json, say

if TYPE_CHECKING:
    from sinks.notify.alarms import Alarm
    from sinks.notify.routes import Routes
    from sinks.notify.sample import SampleResult

ROUTES = Flag("--routes", "notify.routes", "FILE")
GROUP = Flag("--group", "notify.group", "NAME")

JsonOption = Annotated[bool, typer.Option("--json", help="The answer as one JSON object on stdout.")]


def add_commands(app: typer.Typer) -> None:
    """Put `notify` into the command line."""
    notify = typer.Typer(
        no_args_is_help=True, help="Send a sample notification, check the routes file, or see what was sent."
    )
    notify.command("test", cls=SettingsCommand)(send_test)
    notify.command("check", cls=SettingsCommand)(check)
    notify.command("status", cls=SettingsCommand)(status)
    app.add_typer(notify, name="notify", rich_help_panel="Consumers")


def add_sinks(sinks: typer.Typer) -> None:
    """Put `notify` and `mqtt` among the sinks."""
    sinks.command("notify", cls=SettingsCommand)(sink_notify)
    sinks.command("mqtt", cls=SettingsCommand)(sink_mqtt)


@with_settings(
    GROUP,
    ROUTES,
    Flag("--dashboard-url", "notify.dashboard_url", "URL"),
    Flag("--max-age", "notify.max_age", "DURATION"),
    Flag("--give-up", "notify.give_up", "DURATION"),
    Flag("--metrics-host", "notify.metrics_host", "ADDRESS"),
    Flag("--metrics-port", "notify.metrics_port", "PORT"),
    DATABASE,
    BROKER,
    REGISTRY,
)
def sink_notify(given: Given) -> None:
    """Tell people of anomalies: mail, Slack, webhooks and whatever else Apprise knows, by routes of a YAML file.

    Runs until it is stopped. Each notification is decided once and kept in the database until it was taken, over restarts
    and with several of these side by side. What a route has told as open it tells as cleared. docs/notifications.md
    describes the routes.

    For example:

      sigmawatch sink notify --routes routes.yaml --database postgresql://me@db/plant --bootstrap-servers kafka:9092
    """
    from deploy.clients import codec_of  # noqa: PLC0415 - not needed for --help
    from sinks.notify.service import notify_sink  # noqa: PLC0415
    from sinks.service import serve  # noqa: PLC0415

    settings = given.begin()
    serve(
        notify_sink(settings, codec_of(settings)),
        settings.notify.metrics_host,
        settings.notify.metrics_port,
    )


@with_settings(
    Flag("--group", "mqtt_sink.group", "NAME"),
    Flag("--mqtt", "mqtt_sink.url", "URL"),
    Flag("--client-id", "mqtt_sink.client_id", "NAME"),
    Flag("--prefix", "mqtt_sink.prefix", "TOPIC"),
    Flag("--topic", "mqtt_sink.topic", "TOPIC"),
    Flag("--retain-open", "mqtt_sink.retain_open", "yes|no"),
    Flag("--metrics-host", "mqtt_sink.metrics_host", "ADDRESS"),
    Flag("--metrics-port", "mqtt_sink.metrics_port", "PORT"),
    BROKER,
    REGISTRY,
)
def sink_mqtt(given: Given) -> None:
    """Publish anomalies on an MQTT broker: JSON, QoS 1, on PREFIX/anomalies/DEVICE/METRIC.

    Runs until it is stopped. An anomaly counts as published when the MQTT broker has acknowledged it, so that after a crash
    one may come twice: anomaly_id and state tell. Whether the sink is there stands on PREFIX/sinks/CLIENT_ID/status.

    For example:

      SIGMAWATCH_MQTT_SINK__PASSWORD=secret sigmawatch sink mqtt --mqtt mqtts://me@broker.example

      mosquitto_sub -t 'sigmawatch/anomalies/#'
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from sinks.mqtt.service import mqtt_sink  # noqa: PLC0415
    from sinks.service import serve  # noqa: PLC0415

    settings = given.begin()
    serve(
        mqtt_sink(settings, codec_of(settings)),
        settings.mqtt_sink.metrics_host,
        settings.mqtt_sink.metrics_port,
    )


@with_settings(ROUTES, Flag("--dashboard-url", "notify.dashboard_url", "URL"))
def send_test(
    given: Given,
    route: Annotated[
        str | None, typer.Argument(metavar="ROUTE", help="A route of the file; all if not given.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="URL", help="Send to this URL of Apprise's instead; - reads it from stdin."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a sample to the targets of a route, and say for each whether it was taken; exits 1 where one did not.

    For example:

      sigmawatch notify test --routes routes.yaml

      sigmawatch notify test ovens --routes routes.yaml

      sigmawatch notify test --target json://localhost:8080/hook
    """
    from pydantic import SecretStr  # noqa: PLC0415

    from schemas.clock import SystemClock  # noqa: PLC0415
    from schemas.errors import ConfigError  # noqa: PLC0415
    from sinks.notify.sample import send_sample_to, send_samples  # noqa: PLC0415
    from sinks.notify.service import routes_of  # noqa: PLC0415

    if route is not None and target is not None:
        raise ConfigError("both a route and --target are given", "Give one of them.")
    settings = given.begin()
    if target is not None:
        url = typer.get_text_stream("stdin").readline().strip() if target == "-" else target
        results = [send_sample_to(settings, SecretStr(url), SystemClock())]
    else:
        results = send_samples(settings, routes_of(settings), SystemClock(), route)
    _print_results(results, as_json=as_json)
    if not all(result.accepted for result in results):
        raise Finished(REFUSED)


def _print_results(results: "list[SampleResult]", *, as_json: bool) -> None:
    from dataclasses import asdict  # noqa: PLC0415

    if as_json:
        accepted = all(result.accepted for result in results)
        print_json({"accepted": accepted, "results": [asdict(result) for result in results]})
        return
    console: Any = answers()
    for result in results:
        where = f"{result.route}: " if result.route else ""
        outcome = "taken" if result.accepted else f"NOT taken: {result.error}"
        console.print(f"{where}{result.target} ({result.address}): {outcome}", markup=False)


@with_settings(ROUTES)
def check(
    given: Given,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The routes file; notify.routes if not given.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="ID", help="Of an anomaly: its device.")] = "",
    device_type: Annotated[str, typer.Option("--type", metavar="TYPE", help="The device's type.")] = "",
    place: Annotated[str, typer.Option("--place", metavar="PLACE", help="Where it stands.")] = "",
    metric: Annotated[str, typer.Option("--metric", metavar="NAME", help="The metric.")] = "",
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="As spike.")] = "",
    severity: Annotated[
        str, typer.Option("--severity", metavar="SEVERITY", help="INFO, WARNING or CRITICAL.")
    ] = "WARNING",
    as_json: JsonOption = False,
) -> None:
    """Check a routes file, or explain which routes an anomaly would take, and why not the others.

    Every unknown key and wrong value is named with its line; exits 2 where there is one. Nothing is sent.

    For example:

      sigmawatch notify check routes.yaml

      sigmawatch notify check routes.yaml --type oven --place Denver --kind spike --severity CRITICAL
    """
    from sinks.notify.routes_file import read_routes  # noqa: PLC0415
    from sinks.notify.service import routes_of, targets_of  # noqa: PLC0415

    settings = given.begin()
    routes = read_routes(file) if file is not None else routes_of(settings)
    targets = targets_of(settings, routes)
    if any((device, device_type, place, metric, kind)):
        alarm = _alarm(device, device_type, place, metric, kind, severity)
        _explain(routes, alarm, as_json=as_json)
        return
    if as_json:
        addresses = {name: target.address for name, target in targets.items()}
        print_json({"routes": [route.name for route in routes.routes], "targets": addresses})
        return
    for target in targets.values():
        say(f"target {target}")
    say(f"{len(routes.routes)} routes, {len(targets)} targets, all fine")


def _alarm(device: str, device_type: str, place: str, metric: str, kind: str, severity: str) -> "Alarm":
    from schemas.errors import ConfigError  # noqa: PLC0415
    from schemas.readings import AnomalySeverity  # noqa: PLC0415
    from sinks.notify.alarms import Alarm  # noqa: PLC0415

    if severity.upper() not in AnomalySeverity.__members__:
        raise ConfigError(f"--severity {severity}", "Give INFO, WARNING or CRITICAL.")
    return Alarm(
        anomaly_id="00000000-0000-0000-0000-000000000000",
        device_id=device,
        metric=metric,
        kind=kind,
        severity=AnomalySeverity[severity.upper()],
        opened_at=0,
        detected_at=0,
        type=device_type,
        place=place,
    )


def _explain(routes: "Routes", alarm: "Alarm", *, as_json: bool) -> None:
    """Say of each route whether an alarm takes it."""
    taken = [route.name for route in routes.taken(alarm)]
    reasons = {}
    for route in routes.routes:
        why_not = route.match.why_not(alarm)
        if route.name not in taken:
            reasons[route.name] = f"does not fit: {why_not}" if why_not else "an earlier route has taken it"
    if as_json:
        print_json({"taken": taken, "not_taken": reasons})
        return
    console: Any = answers()
    for route in routes.routes:
        outcome = f"takes it, to {', '.join(route.targets)}" if route.name in taken else reasons[route.name]
        console.print(f"{route.name}: {outcome}", markup=False)
    if not taken:
        console.print("nobody is told", markup=False)


@with_settings(GROUP, DATABASE)
def status(given: Given, as_json: JsonOption = False) -> None:
    """Say what became of notifications: by target, and those that failed or are being tried again.

    For example:

      sigmawatch notify status --database postgresql://me@db/plant
    """
    from deploy.cli.questions import answering  # noqa: PLC0415
    from deploy.clients import connect_database  # noqa: PLC0415
    from sinks.notify.outbox import read_status  # noqa: PLC0415

    settings = given.begin()
    with connect_database(settings) as connection, answering():
        found = read_status(connection, settings.notify.group)
    if as_json:
        print_json(found.to_json())
        return
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console: Any = answers()
    table = Table("target", "sent", "waiting", "failed", "unknown", "last sent", box=None, pad_edge=False)
    for target in found.targets:
        counts = target.counts
        waiting = counts.get("pending", 0) + counts.get("sending", 0)
        last = target.last_sent.isoformat(timespec="seconds") if target.last_sent else ""
        numbers = (counts.get("sent", 0), waiting, counts.get("failed", 0), counts.get("unknown", 0))
        table.add_row(escape(target.target), *map(str, numbers), last)
    console.print(table)
    for trouble in found.troubles:
        when = trouble.decided_at.isoformat(timespec="seconds")
        console.print(
            f"{trouble.state} ({trouble.attempts} attempts) to {trouble.target}, {when}: {trouble.title}: {trouble.error}",
            markup=False,
        )
