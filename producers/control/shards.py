"""Which of several simulator workers has which device.

The number follows from the device's id alone, so that workers need not agree on anything but how many they are.
It is another hash than the one that spreads keys over a topic's partitions: a worker that is away leaves a gap in all of
them, not one silent partition.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b

from schemas.errors import ConfigError

MAX_SHARDS = 1000

_FORM = re.compile(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*")


def shard_of(device_id: str, shards: int) -> int:
    """The shard of a device, 1 to `shards`; stable between versions and machines."""
    if shards == 1:
        return 1
    digest = blake2b(device_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards + 1


@dataclass(frozen=True, slots=True)
class Shard:
    """One worker's part of a fleet: `number` of `shards`, from 1."""

    number: int = 1
    shards: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.shards}"

    @property
    def is_whole(self) -> bool:
        """Whether this worker has the whole fleet."""
        return self.shards == 1

    def owns(self, device_id: str) -> bool:
        """Whether a device belongs to this shard."""
        return shard_of(device_id, self.shards) == self.number


WHOLE = Shard()
"""The only part of a fleet that is not shared."""


def parse_shard(text: str) -> Shard:
    """`2/3` as the second of three shards.

    Raises:
        ConfigError: it is nothing of the kind.
    """
    found = _FORM.fullmatch(text)
    number, shards = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= shards <= MAX_SHARDS:
        raise ConfigError(
            f"shard {text!r}", f"Give it as 2/3: the second of three workers, at most {MAX_SHARDS}."
        )
    return Shard(number, shards)
