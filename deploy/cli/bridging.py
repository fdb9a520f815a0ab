"""`bridge mqtt`: readings from an MQTT broker, until it is stopped."""

import typer

from deploy.cli.flags import BROKER, REGISTRY, Flag, Given, SettingsCommand, with_settings
from deploy.cli.terminal import stop_event


def add_commands(app: typer.Typer) -> None:
    """Put the command into the command line."""
    bridges = typer.Typer(no_args_is_help=True, help="Take readings from another messaging system.")
    bridges.callback()(lambda: None)  # else a single command would have no name of its own
    bridges.command("mqtt", cls=SettingsCommand)(bridge_mqtt)
    app.add_typer(bridges, name="bridge", rich_help_panel="Producers")


@with_settings(
    Flag("--mqtt", "bridge.mqtt", "URL"),
    Flag("--client-id", "bridge.client_id", "ID"),
    Flag("--protocol", "bridge.protocol", "5|3.1.1"),
    Flag("--ca-file", "bridge.ca_file", "FILE"),
    Flag("--retained", "bridge.retained", "ignore|accept"),
    Flag("--max-in-flight", "bridge.max_in_flight", "N"),
    Flag("--journal", "bridge.journal", "FILE"),
    Flag("--metrics-host", "bridge.metrics_host", "ADDRESS"),
    Flag("--metrics-port", "bridge.metrics_port", "PORT"),
    BROKER,
    REGISTRY,
)
def bridge_mqtt(given: Given) -> None:
    """Turn messages of MQTT topics into readings, none lost: QoS 1, acknowledged when Kafka has the readings.

    Runs until it is stopped. The MQTT broker keeps what is published while the bridge is away, and each of the two
    brokers may be away for a while. A message that is no reading goes to the readings' dead letters, with the reason.

    Which topics, and what in them is device, time, metrics and fault, say the rules: a list in the settings file, as
    `sigmawatch settings` shows it. Without one it reads what iot-mock-service and `sigmawatch simulate --mqtt`
    publish: every number of energy/devices/{device_id}/data. Another rule would be

      bridge: {rules: [{topic: "plant/{line}/{device_id}", time: $.at, time_format: epoch_ms, metrics: {$.t: temperature}}]}

    Give the password in the environment, so that nobody sees it: SIGMAWATCH_BRIDGE__MQTT=mqtt://me:secret@host, or
    SIGMAWATCH_BRIDGE__PASSWORD beside --mqtt mqtt://me@host.

    For example:

      sigmawatch bridge mqtt --mqtt mqtt://localhost --bootstrap-servers kafka:9092

      sigmawatch bridge mqtt --mqtt mqtts://me@broker.example --ca-file plant-ca.pem --config rules.yaml
    """
    from deploy.clients import codec_of  # noqa: PLC0415
    from deploy.folders import state_folder  # noqa: PLC0415
    from producers.bridge.commands import run_bridge  # noqa: PLC0415

    settings = given.begin()
    with stop_event() as stop:
        run_bridge(settings, codec_of(settings), stop, state=state_folder(settings.state_dir))
