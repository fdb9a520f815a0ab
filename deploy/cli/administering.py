"""`topics`, `schemas` and `settings`: what is set up before the parts run."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.exits import REFUSED, Finished
from deploy.cli.flags import BROKER, REGISTRY, Flag, Given, SettingsCommand, with_settings
from deploy.cli.terminal import print_json, say

if TYPE_CHECKING:
    from schemas.registry import SchemaResult
    from schemas.settings import Settings

JsonOption = Annotated[bool, typer.Option("--json", help="The answer as one JSON object on stdout.")]

MASKED = "**********"

_PANEL = "Setting up"
_PARTITIONS = Flag("--partitions", "topics.partitions", "N")
_REPLICATION = Flag("--replication-factor", "topics.replication_factor", "N")


def add_commands(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    topics = typer.Typer(
        no_args_is_help=True, help="Create the topics, or compare a cluster with what they should be."
    )
    topics.command("create", cls=SettingsCommand)(topics_create)
    topics.command("check", cls=SettingsCommand)(topics_check)
    app.add_typer(topics, name="topics", rich_help_panel=_PANEL)
    schemas = typer.Typer(no_args_is_help=True, help="Register the schemas, or compare a registry with them.")
    schemas.command("register", cls=SettingsCommand)(schemas_register)
    schemas.command("check", cls=SettingsCommand)(schemas_check)
    app.add_typer(schemas, name="schemas", rich_help_panel=_PANEL)
    app.command("settings", cls=SettingsCommand, rich_help_panel=_PANEL)(list_settings)


@with_settings(_PARTITIONS, _REPLICATION, BROKER)
def topics_create(given: Given, as_json: JsonOption = False) -> None:
    """Create the topics that are missing; those that are there stay as they are.

    Which topics there are, with partitions, retention and cleanup policy, is one table in the package; names and
    sizes are settings (topics.*). May be run any number of times.

    For example:

      sigmawatch topics create --bootstrap-servers kafka:9092 --partitions 24 --replication-factor 3
    """
    from deploy.clients import admin_client, require_broker  # noqa: PLC0415
    from schemas.topics import create_topics, topic_specs  # noqa: PLC0415

    settings = given.begin()
    admin = admin_client(settings)
    require_broker(settings, admin)
    result = create_topics(admin, topic_specs(settings))
    if as_json:
        print_json({"created": sorted(result.created), "existing": sorted(result.existing)})
        return
    for name in sorted(result.created):
        say(f"created  {name}")
    for name in sorted(result.existing):
        say(f"exists   {name}")


@with_settings(_PARTITIONS, _REPLICATION, BROKER)
def topics_check(given: Given, as_json: JsonOption = False) -> None:
    """Compare the cluster's topics with what they should be; exits 1 where they differ.

    For example:

      sigmawatch topics check --bootstrap-servers kafka:9092
    """
    from deploy.clients import admin_client, require_broker  # noqa: PLC0415
    from schemas.topics import check_topics, topic_specs  # noqa: PLC0415

    settings = given.begin()
    admin = admin_client(settings)
    require_broker(settings, admin)
    differences = [str(difference) for difference in check_topics(admin, topic_specs(settings))]
    _tell_differences(differences, "all topics are as they should be", as_json=as_json)


def _tell_differences(differences: list[str], good: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"differences": differences})
    else:
        for difference in differences:
            say(difference)
        if not differences:
            say(good)
    if differences:
        raise Finished(REFUSED)


@with_settings(REGISTRY)
def schemas_register(given: Given, as_json: JsonOption = False) -> None:
    """Register the three messages' schemas, after a check that they read what the registry's newest versions wrote.

    Without a registry nothing needs registering: the schemas' fixed ids are in the package. Exits 1 where one does
    not fit.

    For example:

      sigmawatch schemas register --schema-registry http://registry:8081
    """
    from schemas.registry import register_schemas  # noqa: PLC0415

    _tell_schemas(register_schemas(given.begin()), as_json=as_json)


@with_settings(REGISTRY)
def schemas_check(given: Given, as_json: JsonOption = False) -> None:
    """Compare the registry's schemas with the package's; exits 1 where one is missing or does not fit.

    Without a registry the package's own versions are compared with each other.

    For example:

      sigmawatch schemas check --schema-registry http://registry:8081
    """
    from schemas.registry import check_schemas  # noqa: PLC0415

    _tell_schemas(check_schemas(given.begin()), as_json=as_json)


def _tell_schemas(results: "list[SchemaResult]", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "schemas": [
                    {
                        "subject": result.subject,
                        "version": result.version,
                        "state": str(result.state),
                        "id": result.schema_id,
                        "problems": list(result.problems),
                    }
                    for result in results
                ]
            }
        )
    else:
        for result in results:
            say(str(result))
    if not all(result.fine for result in results):
        raise Finished(REFUSED)


@with_settings()
def list_settings(given: Given, as_json: JsonOption = False) -> None:
    """List every setting as a YAML file with explanations: what is set now, and in comments the defaults.

    Write it to a file, edit that, and give it to any command with --config. Secrets are not shown.

    For example:

      sigmawatch settings > plant.yaml

      sigmawatch settings --config plant.yaml --json
    """
    from schemas.settings import describe_settings  # noqa: PLC0415

    settings = given.settings()
    described = describe_settings()
    values = {setting.key: _value(settings, setting.key) for setting in described}
    if as_json:
        print_json(
            {
                setting.key: {
                    **setting._asdict(),
                    "variable": setting.variable,
                    "value": values[setting.key][0],
                }
                for setting in described
            }
        )
        return
    section = ""
    for setting in described:
        above, _, key = setting.key.rpartition(".")
        if above != section:
            section = above
            sys.stdout.write(f"\n{section}:\n" if section else "\n")
        value, is_set = values[setting.key]
        line = f"# {key}: {setting.default}".rstrip()
        if is_set:
            line = f"{key}: {_as_yaml(value)}" if value != MASKED else f"# {key}: set, and not shown"
        indent = "  " if above else ""
        sys.stdout.write(f"{indent}# {setting.description} [{setting.variable}]\n{indent}{line}\n")


def _value(settings: "Settings", dotted: str) -> tuple[Any, bool]:
    """(value as JSON or YAML can have it, whether it was set); a secret is `MASKED`."""
    from schemas.settings import plain_list  # noqa: PLC0415

    value: Any = settings
    is_set = False
    for key in dotted.split("."):
        is_set = key in value.model_fields_set
        value = getattr(value, key)
    if value is None or isinstance(value, bool | int | float):
        return value, is_set
    if isinstance(value, tuple):
        return plain_list(value), is_set
    shown = str(value)  # what is secret masks itself
    if MASKED in shown:
        return MASKED, is_set
    return dict(value) if isinstance(value, dict) else shown, is_set


def _as_yaml(value: Any) -> str:
    import yaml  # noqa: PLC0415

    text: str = yaml.safe_dump(value, default_flow_style=True, width=1_000_000)
    return text.removesuffix("...\n").strip()
