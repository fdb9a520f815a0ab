"""Which worker has which device."""

from collections import Counter

import pytest

from producers.control.shards import WHOLE, Shard, parse_shard, shard_of
from schemas.errors import ConfigError
from schemas.kafka import partition_for_key


def test_a_devices_shard_is_the_same_in_every_version():
    ids = ("mock-hvac-001", "SENSOR_001", "oven-restaurant-ab12cd", "Überwachung 7")
    assert [shard_of(name, 3) for name in ids] == [2, 1, 3, 3]
    assert [shard_of(name, 8) for name in ids] == [6, 6, 6, 7]


@pytest.mark.parametrize("shards", [2, 3, 8])
def test_devices_spread_evenly_and_independently_of_partitions(shards):
    ids = [f"hvac-{number:05}" for number in range(20_000)]
    counts = Counter(shard_of(name, shards) for name in ids)
    assert set(counts) == set(range(1, shards + 1))
    expected = len(ids) / shards
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())
    of_one_shard = Counter(partition_for_key(name.encode(), 8) for name in ids if shard_of(name, shards) == 1)
    assert len(of_one_shard) == 8


def test_every_device_has_one_owner():
    shards = [Shard(number, 5) for number in range(1, 6)]
    for name in ("a", "b", "c-7", "\ud800"):
        assert sum(shard.owns(name) for shard in shards) == 1
    assert WHOLE.is_whole
    assert WHOLE.owns("anything")


def test_parsing():
    assert parse_shard("2/3") == Shard(2, 3)
    assert parse_shard(" 1 / 1 ") == WHOLE
    assert str(Shard(2, 3)) == "2/3"


@pytest.mark.parametrize(
    "text", ["", "3", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/3/5", "1/1001", "1.5/3", "²/3"]
)
def test_what_is_no_shard(text):
    with pytest.raises(ConfigError, match="the second of three workers"):
        parse_shard(text)
