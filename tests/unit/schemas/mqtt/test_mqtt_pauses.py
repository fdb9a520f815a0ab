"""Pauses between attempts to connect."""

from schemas.mqtt.pauses import Pauses


def test_pauses_grow_and_a_connection_that_lasts_makes_them_short_again():
    pauses = Pauses()
    assert [pauses.after(None) for _ in range(4)] == [0.2, 0.4, 0.8, 1.6]
    assert pauses.after(60.0) == 0.2
    assert [pauses.after(0.1) for _ in range(7)][-1] == 10.0
    assert not pauses.suspicious
    told = []
    for _ in range(10):
        pauses.after(0.1)
        told.append(pauses.suspicious)
    assert sum(told) == 2
    pauses.after(None)
    pauses.after(60.0)
    assert not pauses.suspicious
