"""The queue between simulation and broker."""

import threading

import pytest

from producers.mqtt.outbox import Outbox
from schemas.errors import PublishError
from schemas.mqtt.publishing import Message
from tests.support.waiting import until


def message(number, readings=1):
    return Message("t", b"%d" % number, readings=readings)


def test_messages_are_kept_until_they_are_acknowledged():
    woken = []
    outbox = Outbox(10, lambda: woken.append(1))
    outbox.put([message(1, 4), message(2, 3)])
    assert woken
    assert outbox.next == message(1, 4)
    outbox.sent(7)
    outbox.sent(8)
    assert (outbox.next, len(outbox), outbox.in_flight, outbox.acknowledged) == (None, 2, 2, 0)
    assert outbox.topic_of(8) == "t"
    outbox.acknowledge(8)
    outbox.acknowledge(8)
    outbox.acknowledge(99)
    assert (len(outbox), outbox.acknowledged) == (1, 3)
    assert not outbox.flush(0.01)
    outbox.acknowledge(7)
    assert outbox.flush()
    assert outbox.acknowledged == 7


def test_what_was_not_acknowledged_is_sent_again_in_its_order():
    outbox = Outbox(10, lambda: None)
    outbox.put(message(number) for number in range(5))
    for packet in (1, 2, 3):
        outbox.sent(packet)
    outbox.acknowledge(2)
    outbox.put_back()
    order = []
    while (each := outbox.next) is not None:
        order.append(each.payload)
        outbox.sent(100 + len(order))
    assert order == [b"0", b"2", b"3", b"4"]


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_it_is_bounded(limit):
    outbox = Outbox(limit, lambda: None)
    thread = threading.Thread(target=lambda: outbox.put(message(number) for number in range(20)))
    thread.start()
    seen = []
    for packet in range(20):
        until(lambda: outbox.next is not None)
        assert len(outbox) <= limit
        seen.append(outbox.next.payload)
        outbox.sent(packet)
        outbox.acknowledge(packet)
    thread.join(60)
    assert seen == [b"%d" % number for number in range(20)]
    outbox.put([message(number) for number in range(30)], limited=False)
    assert len(outbox) == 30


@pytest.mark.parametrize("wait", ["put", "flush"])
def test_a_failure_ends_every_wait(wait):
    outbox, errors = Outbox(2, lambda: None), []
    outbox.put([message(1), message(2)])

    def run():
        try:
            outbox.flush() if wait == "flush" else outbox.put([message(3)])
        except PublishError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    outbox.fail(PublishError("no"))
    thread.join(60)
    assert len(errors) == 1
    with pytest.raises(PublishError):
        outbox.put([message(4)])
