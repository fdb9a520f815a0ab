"""Device records beside a file of readings: `<file>.devices.jsonl`, one device a line, of each id the last one counts."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from producers.outputs.targets import FileTarget
from schemas.errors import InputError
from schemas.readings import Device

_DEVICE: TypeAdapter[Device] = TypeAdapter(Device)


def devices_path(path: Path) -> Path:
    """Where the device records of a file of readings are."""
    return path.with_name(path.name + ".devices.jsonl")


class DeviceFile:
    """Writes device records beside a file of readings; there is no such file until the first one comes.

    Args:
        path: The file of readings.
        overwrite: Whether device records that are there may be replaced.

    Raises:
        ConfigError: there are some.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self._target = FileTarget(devices_path(path), overwrite=overwrite)
        self._count = 0

    def write(self, devices: Sequence[Device]) -> None:
        """Append records; errors as `Target`."""
        self._count += len(devices)
        lines = [json.dumps(asdict(device), ensure_ascii=False) + "\n" for device in devices]
        self._target.write("".join(lines).encode())

    def flush(self) -> None:
        """As `Target.flush`."""
        self._target.flush()

    def finish(self) -> None:
        """As `Target.finish`; without a record there is no file."""
        if self._count:
            self._target.finish()
        else:
            self._target.abandon(keep=False)

    def abandon(self) -> None:
        """As `Target.abandon`."""
        self._target.abandon(keep=self._count > 0)


def read_devices(path: Path) -> list[Device]:
    """The device records beside a file of readings, the last one of each id; none where there is no such file.

    Raises:
        InputError: the file cannot be read, or a line is no device.
    """
    beside = devices_path(path)
    if not beside.exists():
        return []
    try:
        lines = beside.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{beside} cannot be read: {error.strerror}") from error
    devices = [_device(line, f"{beside}, line {number}") for number, line in enumerate(lines, 1)]
    return list({device.device_id: device for device in devices}.values())


def _device(line: bytes, place: str) -> Device:
    try:
        return _DEVICE.validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(map(str, problem["loc"]))
        raise InputError(f"{place}{', field ' if field else ''}{field}: {problem['msg']}") from error
