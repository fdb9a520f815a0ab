"""Flags of the commands: the common ones, settings under a name of their own, and options of library functions.

A command is a function of a `Given` and its own parameters; `with_settings` adds the rest to its signature.
The texts of settings come from the settings model itself, and only when a command's own help is shown: so that
`sigmawatch --help` imports none of it.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer
from typer.core import TyperCommand

from deploy.cli.exits import ReaderGoneError
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from schemas.settings import Settings

P = ParamSpec("P")

COMMON_PANEL = "Settings for every command"
SETTINGS_PANEL = "Settings"


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting with a flag of its own, as `--group` for processor.group."""

    name: str
    key: str
    metavar: str = "TEXT"
    panel: str = SETTINGS_PANEL

    @property
    def parameter_name(self) -> str:
        """Name as a Python parameter."""
        return self.name.lstrip("-").replace("-", "_")

    def parameter(self) -> inspect.Parameter:
        """As a parameter of a Typer command; its help is filled in by `SettingsCommand`."""
        option = typer.Option(self.name, metavar=self.metavar, rich_help_panel=self.panel)
        return _parameter(self.parameter_name, str | None, option, None)


BROKER = Flag("--bootstrap-servers", "kafka.bootstrap_servers", "HOST:PORT")
DATABASE = Flag("--database", "database.url", "URL")
REGISTRY = Flag("--schema-registry", "schema_registry.url", "URL")


def _parameter(name: str, kind: Any, option: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def option_parameter(
    name: str, kind: Any, *declarations: str, default: Any = None, **more: Any
) -> inspect.Parameter:
    """A parameter of a Typer command that is collected in `Given.options`."""
    return _parameter(name, kind, typer.Option(*declarations, **more), default)


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="YAML file of settings. [dim]\\[env: SIGMAWATCH_CONFIG][/dim]",
        rich_help_panel=COMMON_PANEL,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, as processor.k=5 or kafka.options.sasl.mechanism=PLAIN; may be repeated. "
        "`sigmawatch settings` lists them all.",
        rich_help_panel=COMMON_PANEL,
    ),
]
LogLevelOption = Annotated[
    str | None,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help="debug, info, warning or error. [dim]\\[env: SIGMAWATCH_LOG__LEVEL] \\[default: info][/dim]",
        rich_help_panel=COMMON_PANEL,
    ),
]
LogFormatOption = Annotated[
    str | None,
    typer.Option(
        "--log-format",
        metavar="FORMAT",
        help="console or json, on stderr. [dim]\\[env: SIGMAWATCH_LOG__FORMAT] \\[default: console][/dim]",
        rich_help_panel=COMMON_PANEL,
    ),
]


@dataclass(frozen=True, slots=True)
class Given:
    """What the user gave on the command line that becomes settings.

    Attributes:
        config: the YAML file.
        overrides: dotted key -> value, of flags and `--set`.
        options: options of the command's library function, by name.
    """

    config: Path | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def over(self, below: "Given") -> "Given":
        """This one on top of what was given before the command's name."""
        return replace(
            self, config=self.config or below.config, overrides={**below.overrides, **self.overrides}
        )

    def settings(self, **more: str | None) -> "Settings":
        """The settings, from flags over environment over file over defaults.

        Args:
            **more: further overrides, key with `__` for the dots.

        Raises:
            ConfigError: something is wrong with them.
        """
        from schemas.settings import load_settings  # noqa: PLC0415 - not needed for --help

        extra = {key.replace("__", "."): value for key, value in more.items()}
        return load_settings(self.config, {**self.overrides, **extra})

    def begin(self, **more: str | None) -> "Settings":
        """The same for a command that begins its work: its log is set up, too. Raises as `settings`."""
        from deploy.clients import begin  # noqa: PLC0415 - not needed for --help

        return begin(self.settings(**more))


def given_common(
    config: Path | None, assignments: Sequence[str] | None, log_level: str | None, log_format: str | None
) -> Given:
    """What the common flags say.

    Raises:
        ConfigError: a `--set` without `=`.
    """
    overrides = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {assignment}", "Write it as KEY=VALUE, as in --set processor.k=5.")
        overrides[key.strip()] = value
    flags = {"log.level": log_level, "log.format": log_format}
    return Given(config, overrides | {key: value for key, value in flags.items() if value is not None})


_COMMON = [
    inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ConfigOption),
    inspect.Parameter("assignments", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=SetOption),
    inspect.Parameter("log_level", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=LogLevelOption),
    inspect.Parameter("log_format", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=LogFormatOption),
]


def with_settings(
    *flags: Flag, options: Sequence[inspect.Parameter] = ()
) -> Callable[[Callable[Concatenate[Given, P], None]], Callable[..., None]]:
    """Make a command of a function of `Given`.

    Args:
        *flags: settings that get a flag of their own.
        options: parameters that are handed over in `Given.options`, those given only.
    """

    def decorate(function: Callable[Concatenate[Given, P], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(*args: Any, **kwargs: Any) -> None:
            context: typer.Context = kwargs.pop("context")
            common = given_common(*(kwargs.pop(parameter.name) for parameter in _COMMON))
            chosen = {flag.key: kwargs.pop(flag.parameter_name) for flag in flags}
            collected = {parameter.name: kwargs.pop(parameter.name) for parameter in options}
            given = Given(
                common.config,
                {**common.overrides, **{key: value for key, value in chosen.items() if value is not None}},
                {name: value for name, value in collected.items() if value not in (None, False, [], ())},
            )
            below = context.find_root().obj
            try:
                function(given.over(below) if isinstance(below, Given) else given, *args, **kwargs)
            except BrokenPipeError as error:
                raise ReaderGoneError from error

        signature = inspect.signature(function, eval_str=True)
        own = [
            parameter for name, parameter in signature.parameters.items() if parameter.annotation is not Given
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [context, *own, *options, *(flag.parameter() for flag in flags), *_COMMON]
        )
        command.__settings_flags__ = {flag.parameter_name: flag.key for flag in flags}  # type: ignore[attr-defined]
        return command

    return decorate


class SettingsCommand(TyperCommand):
    """A command whose flags for settings explain themselves from the settings model."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill in the texts, then as Typer does it."""
        from schemas.settings import describe_settings  # noqa: PLC0415 - only for a command's own help

        described = {setting.key: setting for setting in describe_settings()}
        callback: Any = self.callback
        flags = getattr(callback, "__settings_flags__", {})
        texts = option_texts(self.name or "")
        self.help = reflow(self.help)
        for parameter in self.params:
            name = parameter.name or ""
            if name in flags and hasattr(parameter, "help") and not parameter.help:
                setting = described[flags[name]]
                default = f" \\[default: {setting.default}]" if setting.default else ""
                parameter.help = f"{setting.description} [dim]\\[env: {setting.variable}]{default}[/dim]"
            elif hasattr(parameter, "help") and not parameter.help:
                parameter.help = texts.get(name, "")
        super().format_help(ctx, formatter)


def option_texts(command: str) -> dict[str, str]:
    """Help of the options of simulate, record, replay and up, from their dataclasses."""
    from producers.options import RecordOptions, ReplayOptions, SimulateOptions, option_help  # noqa: PLC0415

    options = {"simulate": SimulateOptions, "record": RecordOptions}.get(command, ReplayOptions)
    return {name: text.replace("[", "\\[") for name, text in option_help(options).items()}


def reflow(text: str | None) -> str:
    """A docstring for Typer, which keeps line ends: each paragraph on one line, indented lines as they are."""
    lines: list[str] = []
    for line in inspect.cleandoc(text or "").replace("[", "\\[").splitlines():
        joins = lines and lines[-1] and line and not line.startswith(" ") and not lines[-1].startswith(" ")
        if joins:
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines)
