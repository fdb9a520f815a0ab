"""Which devices a selector means."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from producers.devices.fleet_spec import DeviceSpec
from producers.simulation.commands import Selector


def matcher(select: Selector) -> Callable[[DeviceSpec, str], bool]:
    """Whether a device, with its type's name, fits all that the selector gives.

    Texts may have *, ? and [ab], capital or small; a device id without them is that id and no other.
    """

    def fits(spec: DeviceSpec, kind: str) -> bool:
        if select.device_id is None or spec.device_id == select.device_id:
            return others(spec, kind)
        return (
            _is_pattern(select.device_id) and _like(spec.device_id, select.device_id) and others(spec, kind)
        )

    def others(spec: DeviceSpec, kind: str) -> bool:
        where = spec.location.name if spec.location else ""
        asked = (
            (select.type, (kind,)),
            (select.place, (spec.attributes.get("place", ""), where)),
            (select.city, (spec.attributes.get("city", ""), where)),
            (select.manufacturer, (spec.manufacturer,)),
            (select.firmware, (spec.firmware,)),
        )
        return all(pattern is None or any(_like(text, pattern) for text in texts) for pattern, texts in asked)

    return fits


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _like(text: str, pattern: str) -> bool:
    return text == pattern or fnmatchcase(text.casefold(), pattern.casefold())
