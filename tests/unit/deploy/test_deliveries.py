"""What a producer tells of its deliveries, over its own restarts too."""

import pytest

from deploy.stack.deliveries import Deliveries, read, reporting, write


class FakePublisher:
    def __init__(self):
        self.delivered = {}


def test_nothing_is_delivered_where_there_is_no_file(tmp_path):
    assert read(tmp_path / "none.json") == Deliveries()


def test_written_and_read(tmp_path):
    told = Deliveries(
        {("readings", 0): (5, 105), ("readings", 3): (1, 1), ("devices", 0): (2, 2)}, finished=True
    )
    write(tmp_path / "d.json", told)
    assert read(tmp_path / "d.json") == told
    assert told.total("readings") == 6
    assert told.ends("readings") == {0: 105, 3: 1}


def test_a_producer_that_follows_another_goes_on_counting():
    first = Deliveries({("r", 0): (5, 5), ("r", 1): (1, 1)})
    second = Deliveries({("r", 0): (2, 8), ("r", 2): (3, 3)}, finished=True)
    both = second.after(first)
    assert both.by_partition == {("r", 0): (7, 8), ("r", 1): (1, 1), ("r", 2): (3, 3)}
    assert both.finished


def test_the_end_is_told_after_the_block(tmp_path):
    path, publisher = tmp_path / "d.json", FakePublisher()
    with reporting(path, publisher):
        publisher.delivered["r", 0] = 3, 9
    assert read(path) == Deliveries({("r", 0): (3, 10)}, finished=True)


def test_a_block_that_fails_has_not_finished(tmp_path):
    path, publisher = tmp_path / "d.json", FakePublisher()
    publisher.delivered["r", 0] = 1, 0
    with pytest.raises(RuntimeError), reporting(path, publisher):
        raise RuntimeError
    assert read(path) == Deliveries({("r", 0): (1, 1)}, finished=False)
