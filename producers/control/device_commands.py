"""The commands that a device obeys by name, as iot-mock-service's clients send them: {command, parameters}.

By REST and by MQTT alike; `DEVICE_COMMANDS` is what the documentation lists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from producers.documents import kind_of, nearest
from producers.simulation.commands import (
    ClearFaults,
    Command,
    CommandError,
    InjectFault,
    Selector,
    UpdateDevices,
)


@dataclass(frozen=True, slots=True)
class DeviceCommand:
    """A command by name; `parameters` and `purpose` are for people."""

    name: str
    parameters: str
    purpose: str
    make: Callable[[Selector, "Parameters"], Command]


class Parameters:
    """What came with a command; each getter names what is wrong.

    Args:
        command: the command's name, for errors.
        given: as JSON has it.
    """

    def __init__(self, command: str, given: Mapping[str, Any]) -> None:
        self._command = command
        self._given = given

    def number(self, *names: str) -> float:
        """A number by one of its names.

        Raises:
            CommandError: it is missing, or no number.
        """
        value = self._value(names)
        # iot-mock-service took "30" for 30.
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                value = None
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e300:
            raise self._wrong(names, "a number")
        return float(value)

    def text(self, *names: str) -> str:
        """A text by one of its names.

        Raises:
            CommandError: it is missing, or no text.
        """
        value = self._value(names)
        if not isinstance(value, str) or not 0 < len(value) <= 200:
            raise self._wrong(names, "a text of at most 200 characters")
        return value

    def flag(self, name: str) -> bool:
        """Whether; true where it is missing.

        Raises:
            CommandError: it is neither true nor false.
        """
        value = self._given.get(name, True)
        if not isinstance(value, bool):
            raise self._wrong((name,), "true or false")
        return value

    def numbers(self) -> dict[str, float]:
        """All of them, each a number.

        Raises:
            CommandError: there is none, or one is no number.
        """
        if not self._given:
            raise CommandError(f"{self._command} needs parameters", "Give them as {NAME: NUMBER}.")
        return {name: self.number(name) for name in self._given}

    def optional(self, name: str, read: Callable[[str], Any]) -> Any:
        """What `read` finds, None where it is missing or null."""
        return None if self._given.get(name) is None else read(name)

    def _value(self, names: tuple[str, ...]) -> Any:
        return next((self._given[name] for name in names if name in self._given), None)

    def _wrong(self, names: tuple[str, ...], expected: str) -> CommandError:
        value = self._value(names)
        if value is None:
            return CommandError(f"{self._command} needs the parameter {names[0]}", f"Give {expected}.")
        shown = str(value)[:50] if isinstance(value, str | int | float) else kind_of(value)
        return CommandError(f"{self._command}: {names[0]} is {shown}", f"Give {expected}.")


def _set_parameter(parameter: str, *names: str) -> Callable[[Selector, Parameters], Command]:
    return lambda select, given: UpdateDevices(select, parameters={parameter: given.number(*names)})


def _inject(select: Selector, given: Parameters) -> Command:
    readings = given.optional("duration", given.number)
    if readings is not None and not (readings.is_integer() and 1 <= readings <= 1_000_000):
        raise CommandError(f"a duration of {readings:g} readings", "Give a whole number, 1 to 1000000.")
    return InjectFault(
        select,
        fault=given.optional("fault", given.text) or given.optional("anomaly_type", given.text),
        readings=None if readings is None else int(readings),
        intensity=given.optional("intensity", given.number),
    )


DEVICE_COMMANDS: Mapping[str, DeviceCommand] = {
    command.name: command
    for command in (
        DeviceCommand(
            "set_power",
            "{power}",
            "nominal power in kW",
            _set_parameter("base_power", "power", "base_power", "value"),
        ),
        DeviceCommand(
            "set_voltage",
            "{voltage}",
            "nominal voltage in V",
            _set_parameter("base_voltage", "voltage", "base_voltage", "value"),
        ),
        DeviceCommand(
            "set_enabled",
            "{enabled = true}",
            "switch on or off",
            lambda select, given: UpdateDevices(select, enabled=given.flag("enabled")),
        ),
        DeviceCommand(
            "set_online",
            "{online = true}",
            "link up or down",
            lambda select, given: UpdateDevices(select, online=given.flag("online")),
        ),
        DeviceCommand(
            "turn_on", "", "as set_enabled true", lambda select, _: UpdateDevices(select, enabled=True)
        ),
        DeviceCommand(
            "turn_off", "", "as set_enabled false", lambda select, _: UpdateDevices(select, enabled=False)
        ),
        DeviceCommand(
            "enable", "", "as set_enabled true", lambda select, _: UpdateDevices(select, enabled=True)
        ),
        DeviceCommand(
            "disable", "", "as set_enabled false", lambda select, _: UpdateDevices(select, enabled=False)
        ),
        DeviceCommand(
            "online", "", "as set_online true", lambda select, _: UpdateDevices(select, online=True)
        ),
        DeviceCommand(
            "offline", "", "as set_online false", lambda select, _: UpdateDevices(select, online=False)
        ),
        DeviceCommand(
            "reset_energy",
            "",
            "counters to zero",
            lambda select, _: UpdateDevices(select, reset_counters=True),
        ),
        DeviceCommand(
            "reset_counters",
            "",
            "counters to zero",
            lambda select, _: UpdateDevices(select, reset_counters=True),
        ),
        DeviceCommand(
            "set_state",
            "{state}",
            "operating state of a type that has some",
            lambda select, given: UpdateDevices(select, state=given.text("state")),
        ),
        DeviceCommand(
            "set_firmware",
            "{firmware}",
            "firmware, which changes how often faults come",
            lambda select, given: UpdateDevices(select, firmware=given.text("firmware", "version")),
        ),
        DeviceCommand(
            "set_parameters",
            "{NAME: NUMBER, ...}",
            "parameters of the type",
            lambda select, given: UpdateDevices(select, parameters=given.numbers()),
        ),
        DeviceCommand("inject_fault", "{fault?, duration? readings, intensity?}", "a fault begins", _inject),
        DeviceCommand("clear_fault", "", "its fault ends", lambda select, _: ClearFaults(select)),
    )
}
"""By name."""


def device_command(device_id: str, name: str, parameters: Mapping[str, Any] | None = None) -> Command:
    """The fleet's command for a command that a device was sent.

    Raises:
        CommandError: there is no such command, or its parameters make no sense.
    """
    known = DEVICE_COMMANDS.get(name.strip().lower())
    if known is None:
        near = nearest(name, DEVICE_COMMANDS)
        listed = f"Commands are {', '.join(DEVICE_COMMANDS)}."
        remedy = f"{near} {listed}" if near.startswith("Did") else listed
        raise CommandError(f"{name[:100]!r} is no command of a device", remedy)
    return known.make(Selector(device_id), Parameters(known.name, parameters or {}))
