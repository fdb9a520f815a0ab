"""Which devices a selector means."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from producers.devices.fleet_spec import DeviceSpec
from producers.simulation.commands import Selector


def matcher(select: Selector) -> Callable[[DeviceSpec, str], bool]:
    """Whether a device, with its type's name, fits all that the selector gives; texts may have * and ?."""

    def fits(spec: DeviceSpec, kind: str) -> bool:
        where = spec.location.name if spec.location else ""
        asked = (
            (select.device_id, (spec.device_id,)),
            (select.type, (kind,)),
            (select.place, (spec.attributes.get("place", ""), where)),
            (select.city, (spec.attributes.get("city", ""), where)),
            (select.manufacturer, (spec.manufacturer,)),
            (select.firmware, (spec.firmware,)),
        )
        return all(
            pattern is None or any(fnmatchcase(text.casefold(), pattern.casefold()) for text in texts)
            for pattern, texts in asked
        )

    return fits
