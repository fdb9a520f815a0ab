"""`tail`: a topic's messages, decoded."""

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.flags import BROKER, REGISTRY, Flag, Given, SettingsCommand, with_settings
from deploy.cli.terminal import answers, print_json, stop_event
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


def add_commands(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command("tail", cls=SettingsCommand, rich_help_panel="Consumers")(tail)


@with_settings(Flag("--group", "processor.group", "NAME"), BROKER, REGISTRY)
def tail(
    given: Given,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="As readings, anomalies, readings.dlq.")],
    where: Annotated[str, typer.Option("--from", metavar="beginning|end", help="Where to start.")] = "end",
    limit: Annotated[
        int | None, typer.Option("--max", min=1, metavar="N", help="Stop after N messages.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="TEXT", help="Only messages with this key.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for new messages, or stop at the end.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a message.")] = False,
) -> None:
    """Show a topic's messages, decoded: readings, devices, anomalies, dead letters, the processor's changelog.

    Reads all partitions without joining a group, so nobody is disturbed. A dead letter shows why it was given up and,
    where its bytes can be read, what was in it. What cannot be decoded is shown as bytes.

    For example:

      sigmawatch tail anomalies

      sigmawatch tail readings --key boiler-7 --from beginning --max 10

      sigmawatch tail readings.dlq --from beginning --no-follow --json
    """
    if where not in ("beginning", "end"):
        raise ConfigError(f"--from {where}", "Give beginning or end.")
    from deploy.clients import codec_of  # noqa: PLC0415
    from deploy.reading import messages_of  # noqa: PLC0415
    from deploy.showing import MessageReader, human_line, json_line  # noqa: PLC0415

    settings = given.begin()
    reader = MessageReader(codec_of(settings), settings)
    console = answers()
    wanted = None if key is None else key.encode()
    shown = 0
    with stop_event() as stop:
        for message in messages_of(
            settings, topic, from_beginning=where == "beginning", follow=follow, stop=stop
        ):
            if wanted is not None and message.key() != wanted:
                continue
            read = reader.read(message)
            if as_json:
                print_json(json_line(read))
            else:
                _print(console, human_line(read))
            shown += 1
            if shown == limit:
                break


def _print(console: "Console", line: str) -> None:
    console.print(line)
    console.file.flush()
