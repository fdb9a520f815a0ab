"""What detection knows of devices, and what of it changed. No I/O; safe to use from several threads."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from schemas.errors import SigmawatchError


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """Of one device; all empty of one that nobody announced. `place` is its location's name."""

    type: str = ""
    place: str = ""
    manufacturer: str = ""
    firmware: str = ""


UNKNOWN = DeviceFacts()


class DirectoryBehindError(SigmawatchError):
    """A device is not known, and may have been announced since the directory was last read."""


class DeviceLookup(Protocol):
    """What is known of devices."""

    def facts(self, device_id: str) -> DeviceFacts:
        """Of a device; `UNKNOWN` where nothing is.

        Raises:
            DirectoryBehindError: only where it was asked for, see `Directory.complete_only`.
        """


class KnownDevices:
    """A lookup that does not change, as evaluations and tests have it."""

    def __init__(self, devices: Mapping[str, DeviceFacts] | None = None) -> None:
        self._devices = devices or {}

    def facts(self, device_id: str) -> DeviceFacts:
        """As `DeviceLookup`."""
        return self._devices.get(device_id, UNKNOWN)


class Directory:
    """The facts of all devices, as far as their topic was read.

    A device that was asked for in vain is remembered as unknown, until its record comes.
    """

    def __init__(self) -> None:
        self._facts: dict[str, DeviceFacts] = {}
        self._same: dict[DeviceFacts, DeviceFacts] = {}
        """Few devices differ in all: 100,000 of them share some hundred objects."""
        self._unknown: set[str] = set()
        self._changed: set[str] = set()
        self._complete_only = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._facts)

    def facts(self, device_id: str) -> DeviceFacts:
        """As `DeviceLookup`."""
        known = self._facts.get(device_id)
        if known is not None:
            return known
        with self._lock:
            if device_id in self._facts:
                return self._facts[device_id]
            if self._complete_only and device_id not in self._unknown:
                raise DirectoryBehindError(f"nothing is known of device {device_id!r} yet")
            self._unknown.add(device_id)
        return UNKNOWN

    @contextmanager
    def complete_only(self) -> Iterator[None]:
        """While it lasts, a device of which nothing is known raises DirectoryBehindError at its first time."""
        self._complete_only = True
        try:
            yield
        finally:
            self._complete_only = False

    def take(self, device_id: str, facts: DeviceFacts | None) -> None:
        """Take over a device's record, None for one that was deleted."""
        with self._lock:
            before = self._facts.get(device_id)
            if facts is None:
                self._facts.pop(device_id, None)
            else:
                self._facts[device_id] = self._same.setdefault(facts, facts)
            if before != facts and (before is not None or device_id in self._unknown):
                self._changed.add(device_id)
            self._unknown.discard(device_id)

    @property
    def has_changes(self) -> bool:
        """Whether a device that somebody asked for, or that was there before, is another now."""
        return bool(self._changed)

    def take_changes(self) -> frozenset[str]:
        """Those devices, once."""
        with self._lock:
            changed, self._changed = frozenset(self._changed), set()
        return changed
