"""The book of profiles that rules make: each series' profile by its device's type, its metric and its device."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from processors.detection.facts import UNKNOWN, DeviceLookup, KnownDevices
from processors.detection.rules import Rule
from processors.engine.forests import NO_FORESTS, Forests
from processors.engine.profile import Profile, Table, records
from processors.engine.series_index import SeriesName
from processors.engine.storms import USUAL_STORMS, StormLimits


class RuleBook:
    """A `ProfileBook` of rules. Profiles are made when a series first needs one, and shared. Not thread-safe.

    Args:
        base: the profile under all rules.
        rules: laid over it in their order.
        devices: what is known of the devices.
        forests: the trained models.
        storms: when anomalies of many devices are a storm.
    """

    def __init__(
        self,
        base: Profile,
        rules: Sequence[Rule] = (),
        devices: DeviceLookup | None = None,
        forests: Forests = NO_FORESTS,
        storms: StormLimits = USUAL_STORMS,
    ) -> None:
        self.forests = forests
        self.storms = storms
        self.rules = tuple(rules)
        self._devices = KnownDevices() if devices is None else devices
        self._profiles = [base]
        self._table = records(self._profiles)
        self._numbers: dict[tuple[int, ...], int] = {(): 0}
        """Numbers of the rules that fit -> row of the table."""
        self._fitting: dict[tuple[str, str], tuple[tuple[int, ...], int]] = {}
        """Type and metric -> rules that fit but for the device, and the row where no rule asks for the device."""

    @property
    def table(self) -> Table:
        """(k,) of `PROFILE`; grows by `number`."""
        return self._table

    def number(self, name: SeriesName) -> int:
        """Which row of the table a series has; raises as `DeviceLookup.facts`."""
        fitting, number = self._fitting_of(name)
        return self._row(self._of_device(fitting, name.device_id)) if number < 0 else number

    def kinds(self, number: int) -> Mapping[str, str]:
        """Names that the anomalies of a profile have instead of the general ones."""
        return self._profiles[number].kinds

    def profile(self, number: int) -> Profile:
        """A row of the table, for people."""
        return self._profiles[number]

    def rules_of(self, name: SeriesName) -> list[Rule]:
        """The rules that are laid over each other for a series; raises as `DeviceLookup.facts`."""
        fitting, _ = self._fitting_of(name)
        return [self.rules[i] for i in self._of_device(fitting, name.device_id)]

    def groups(self, device_id: str) -> tuple[str, ...]:
        """A device's type and place, where they are known; raises as `DeviceLookup.facts`."""
        facts = self._devices.facts(device_id)
        named = (("type", facts.type), ("place", facts.place))
        return tuple(f"{what}:{which}" for what, which in named if which)

    @property
    def resets(self) -> bool:
        """Whether any rule has series begun anew when their device changes."""
        return any(rule.reset_on for rule in self.rules)

    def origin(self, name: SeriesName) -> int:
        """What of the device a series' state belongs to, 64 bit: another device or firmware there has another.

        0 where no rule wants it begun anew, or nothing is known of the device. Raises as `DeviceLookup.facts`.
        """
        if not self.resets:
            return 0
        facts = self._devices.facts(name.device_id)
        said = [rule.reset_on for rule in self.rules_of(name) if rule.reset_on is not None]
        if facts == UNKNOWN or not said or not said[-1]:
            return 0
        text = "\0".join(f"{what}={getattr(facts, what)}" for what in said[-1])
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") or 1

    def _fitting_of(self, name: SeriesName) -> tuple[tuple[int, ...], int]:
        device_type = self._devices.facts(name.device_id).type
        known = self._fitting.get((device_type, name.metric))
        if known is None:
            known = self._fitting[device_type, name.metric] = self._fit(device_type, name.metric)
        return known

    def _fit(self, device_type: str, metric: str) -> tuple[tuple[int, ...], int]:
        fitting = tuple(i for i, rule in enumerate(self.rules) if rule.fits(device_type, metric))
        asks = any(self.rules[i].devices is not None for i in fitting)
        return fitting, -1 if asks else self._row(fitting)

    def _of_device(self, fitting: tuple[int, ...], device_id: str) -> tuple[int, ...]:
        return tuple(
            i for i in fitting if (devices := self.rules[i].devices) is None or devices.fit(device_id)
        )

    def _row(self, fitting: tuple[int, ...]) -> int:
        number = self._numbers.get(fitting)
        if number is None:
            profile = self._profiles[0]
            for i in fitting:
                profile = self.rules[i].laid_over(profile)
            number = self._numbers[fitting] = len(self._profiles)
            self._profiles.append(profile)
            self._table = records(self._profiles)
        return number
