"""What an episode is called: by the channel that opened it, and by its shape when it is over."""

from dataclasses import replace

import numpy as np
import pytest

from processors.engine import telling
from processors.engine.channels import Channel
from processors.engine.profile import AlarmLimits, JumpLimits, RangeLimits
from processors.engine.telling import Shape, kind_of_shape
from tests.support.engines import apply_in, cleared, engine_of, only, series

LEVEL = Shape(
    readings=40,
    mean=10.0,
    std=0.5,
    slope=0.0,
    first=10.0,
    furthest=11.0,
    size=7.0,
    swing=0.1,
    unrest=0.5,
    returns=False,
    followed=45,
)
"""Forty readings at a level ten above what was expected, all at once."""

SHAPES = [
    ("level_shift", Channel.JUMP, {}),
    ("pattern", Channel.JUMP, {"size": 2.0}),
    ("pattern", Channel.PATTERN, {}),
    ("surge", Channel.JUMP, {"first": 3.0, "slope": 0.4}),
    ("drift", Channel.JUMP, {"first": 1.0, "slope": 0.95, "mean": 5.0, "std": 3.0}),
    ("build_up", Channel.JUMP, {"first": 1.0, "slope": 0.7, "mean": 9.0, "std": 2.0}),
    ("drift", Channel.SHIFT, {}),
    ("build_up", Channel.SHIFT, {"size": 20.0}),
    ("drift", Channel.JUMP, {"returns": True}),
    ("build_up", Channel.JUMP, {"returns": True, "size": 20.0}),
    ("oscillation", Channel.JUMP, {"swing": -0.7}),
    ("noise", Channel.ENERGY, {}),
    ("noise", Channel.JUMP, {"mean": 0.5, "std": 5.0}),
    ("noise", Channel.JUMP, {"readings": 2, "unrest": 3.0}),
    ("noise", Channel.JUMP, {"unrest": 4.0, "std": 4.0}),
    ("spike", Channel.JUMP, {"readings": 3}),
    ("drop", Channel.JUMP, {"readings": 3, "mean": -10.0, "first": -10.0, "furthest": -11.0}),
    ("drift", Channel.RANGE, {"readings": 8, "first": 2.0, "mean": 6.0, "std": 3.0, "slope": 0.95}),
    ("build_up", Channel.RANGE, {"readings": 8, "first": 4.0, "mean": 9.0, "std": 2.0, "slope": 0.8}),
]


@pytest.mark.parametrize(("kind", "channel", "changes"), SHAPES)
def test_the_shape_says_what_it_was(kind, channel, changes):
    assert kind_of_shape(channel, replace(LEVEL, **changes)) == kind


def test_finer_kinds_are_said_only_where_they_have_a_name():
    assert telling.named("build_up", {}) == "drift"
    assert telling.named("build_up", {"drift": "trend"}) == "trend"
    assert telling.named("build_up", {"build_up": "dust_storm", "drift": "trend"}) == "dust_storm"
    assert telling.named("surge", {}) == "level_shift"
    assert telling.named("spike", {"drift": "trend"}) == "spike"


def ended(values, **parts):
    """The kind that the engine gives to the only episode of these values when it is over."""
    alarm = AlarmLimits(warmup=30, calm=5, refractory=0, heat=0.0)
    (over,) = cleared(apply_in(engine_of(only(alarm=alarm, **parts)), series(values)))
    return over.kind


RANGE = RangeLimits(threshold=0.5, share=0.0, warmup=50.0)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("spike", [60.0] * 4),
        ("drop", [-60.0] * 4),
        ("drift", np.linspace(10.0, 90.0, 10).tolist()),
        ("noise", [60.0, -70.0, 50.0, 80.0, -60.0, -75.0, 85.0, -50.0, 55.0]),
        ("oscillation", [70.0, 2.0, -70.0, 2.0] * 5),
    ],
)
def test_a_fault_is_named_when_it_is_over(kind, fault):
    values = 50 + np.random.default_rng(1).uniform(-2, 2, 300)
    values[200 : 200 + len(fault)] += fault
    assert ended(values, range=RANGE) == kind


def test_what_follows_the_leap_back_is_not_the_faults():
    """A machine that cools down behind a short spike: the readings far from the spike's level are its own affair."""
    values = 50 + np.random.default_rng(1).uniform(-1, 1, 400)
    values[200:204] += 30.0
    values[206:300] -= np.minimum(np.arange(94) * 2.0, 40.0)
    assert ended(values, jump=JumpLimits(threshold=12.0, record=1.0)) == "spike"
