"""The channel: what is described of a pane, and a forest that says the same as scikit-learn's."""

import itertools

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from deploy.modelling.fitting import average_path, fit, scores_of
from deploy.modelling.gathering import Gatherer
from processors.engine.book import OneProfile
from processors.engine.channels.model import FEATURES
from processors.engine.collecting_kernel import ECHO, PANE
from processors.engine.forests import joined
from processors.engine.partition import PartitionEngine
from processors.engine.profile import ModelLimits, Profile, ValueMeaning, records
from schemas.readings import Reading
from tests.support.engines import all_records, judged_in, only, opened
from tests.support.models import (
    BEGIN,
    MINUTE,
    NOT_ANOMALOUS,
    a_forest,
    day_after_day,
    healthy_panes,
    history,
    panes_of,
)

PANE_S = ValueMeaning().pane_s
PANE_US = round(PANE_S * 1e6)
PLACE = {name: place for place, name in enumerate(FEATURES)}


class OneModel(OneProfile):
    """A book with one profile and one model for every series."""

    def __init__(self, profile=None):
        super().__init__(profile or Profile(model=ModelLimits(number=0)))
        self.forests = joined([a_forest()[0]])


def readings(values, device="d"):
    return [Reading(device, "m", BEGIN + place * MINUTE, float(value)) for place, value in enumerate(values)]


def pane_at(panes, minute):
    """The pane that has this minute."""
    (found,) = panes[panes["pane"] == (BEGIN + minute * MINUTE) // PANE_US]
    return found


def feature(pane, name):
    return float(pane["features"][PLACE[name]])


@pytest.mark.parametrize("seed", [1, 5])
def test_scores_are_those_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    panes = healthy_panes()
    trained = IsolationForest(n_estimators=100, max_samples=1024, random_state=seed).fit(panes["features"])
    mine, _ = fit(panes, seed, 0.1, PANE_S)
    others = np.zeros(5000, PANE)
    others["features"] = random.normal(0.0, 4.0, others["features"].shape)
    for asked in (panes, others):
        expected = -trained.score_samples(asked["features"])
        assert np.abs(scores_of(mine, asked) - expected).max() < 1e-9
    # healthy panes are judged by the paths of the trees alone, strange ones lie beyond most cuts
    assert scores_of(mine, others).mean() > scores_of(mine, panes).mean()


def test_a_forest_of_few_panes_too():
    panes = healthy_panes()[:3]
    trained = IsolationForest(n_estimators=100, max_samples=3, random_state=1).fit(panes["features"])
    mine, make = fit(panes, 1, 0.1, PANE_S)
    assert make.samples == 3
    assert np.abs(scores_of(mine, panes) + trained.score_samples(panes["features"])).max() < 1e-9


@pytest.mark.parametrize(("samples", "length"), [(1, 0.0), (2, 1.0), (256, 10.244770920119917)])
def test_the_usual_path(samples, length):
    assert average_path(samples) == pytest.approx(length, abs=1e-12)


def test_the_same_seed_gives_the_same_forest_another_another():
    one, again, other = (fit(healthy_panes(), seed, 0.1, PANE_S)[0] for seed in (3, 3, 4))
    assert one.nodes.tobytes() == again.nodes.tobytes()
    assert (one.usual, one.threshold) == (again.usual, again.threshold)
    assert one.nodes.tobytes() != other.nodes.tobytes()


def test_the_threshold_lets_healthy_panes_alarm_as_often_as_wanted():
    panes = healthy_panes()
    for rate in (0.5, 5.0):
        forest, _ = fit(panes, 1, rate, PANE_S)
        alarming = (scores_of(forest, panes) >= forest.threshold).mean() * 86_400 / PANE_S
        assert alarming == pytest.approx(rate, rel=0.2)


def test_nothing_is_said_before_a_day_is_known():
    panes = panes_of(day_after_day(3))
    assert panes["closed"].min() > BEGIN + 1440 * MINUTE
    assert len(panes) > 1440 * MINUTE / PANE_US  # from the second day on, all are described
    assert (np.diff(panes["pane"]) == 1).all()
    assert np.isfinite(panes["features"]).all()


@pytest.mark.parametrize("scale", [2.0**-10, 2.0**30])
def test_features_have_no_unit(scale):
    values = day_after_day(4)
    assert np.allclose(panes_of(values)["features"], panes_of(values * scale)["features"], atol=1e-4)


def test_what_the_features_say():
    values = day_after_day(6, noise=0.5)
    minute = 5 * 1440 + 600  # the wave goes down through its middle at noon, here it is high
    usual = pane_at(panes_of(values), minute)
    up = values.copy()
    up[minute : minute + 5] += 8.0
    assert feature(pane_at(panes_of(up), minute), "off_pattern") > feature(usual, "off_pattern") + 2
    assert feature(pane_at(panes_of(up), minute), "change") > feature(usual, "change") + 1
    assert feature(pane_at(panes_of(up), minute), "level") > feature(usual, "level")
    restless = values.copy()
    restless[minute : minute + 5] += [9, -9, 9, -9, 9]
    assert feature(pane_at(panes_of(restless), minute), "unrest") > feature(usual, "unrest") + 1
    assert feature(pane_at(panes_of(restless), minute), "scatter") > feature(usual, "scatter") + 1
    peak = values.copy()
    peak[minute + 2] += 30
    found = pane_at(panes_of(peak), minute)
    assert feature(found, "above") > feature(usual, "above") + 2
    assert feature(found, "above") > feature(found, "below")
    flat = values.copy()
    flat[minute : minute + 200] = flat[minute]
    assert feature(pane_at(panes_of(flat), minute + 150), "scatter") < feature(usual, "scatter") - 1
    assert feature(pane_at(panes_of(flat), minute + 190), "off_for_long") > feature(usual, "off_for_long")
    assert feature(pane_at(panes_of(flat), minute + 190), "trend") == pytest.approx(0.0, abs=0.05)


def test_a_faulty_pane_and_its_echo_teach_nothing():
    panes = panes_of(day_after_day(3), faulty=slice(3000, 3003))
    excluded = panes[panes["excluded"] == 1]["pane"]
    first = (BEGIN + 3000 * MINUTE) // PANE_US
    assert excluded.tolist() == list(range(first, first + 1 + ECHO))


def test_pieces_of_a_history_give_what_the_whole_gives():
    values = day_after_day(3)
    whole = panes_of(values, faulty=slice(3000, 3003))
    everything = history(values, slice(3000, 3003))
    gatherer = Gatherer(records([Profile()])[0])
    parts = []
    for begin, end in itertools.pairwise([0, 1, 777, 3001, 3002, 3500, len(values)]):
        piece = type(everything)(
            everything.time[begin:end], everything.value[begin:end], everything.faulty[begin:end]
        )
        parts.append(gatherer.take(piece, NOT_ANOMALOUS))
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_training_sees_what_the_engine_sees():
    """Bit for bit: the channels' states at the end, and the scores on the way."""
    values = day_after_day(4)
    values[4000:4030] += 12.0
    engine = PartitionEngine(OneModel())
    judged_in(engine, readings(values))
    gatherer = Gatherer(engine.book.table[0])
    panes = gatherer.take(history(values), NOT_ANOMALOUS)
    for part in ("extent", "spike", "jump", "rare", "energy", "pattern", "shift", "model", "stuck"):
        assert engine.states[0][part].tobytes() == gatherer.state[part].tobytes(), part
    engine = PartitionEngine(OneModel(only_the_model()))
    _, q = judged_in(engine, readings(values))
    forest, _ = a_forest()
    expected = np.maximum(scores_of(forest, panes) - forest.usual, 0) / (forest.threshold - forest.usual)
    at = (panes["closed"] - BEGIN) // MINUTE
    assert np.array_equal(q[at], expected)
    assert not np.delete(q, at).any()


def only_the_model():
    return only(model=ModelLimits(number=0))


def test_batches_cannot_be_seen():
    values = day_after_day(3)
    values[3000:3060] += 15.0
    both = readings(values) + readings(day_after_day(3, seed=7), device="other")
    both.sort(key=lambda reading: (reading.time, reading.device_id))
    results = []
    for cuts in ((), (1, 2, 3000, 5999), range(100, len(both), 997)):
        engine = PartitionEngine(OneModel())
        anomalies, q = judged_in(engine, both, cuts)
        results.append((anomalies, q.tobytes(), all_records(engine)))
    assert results[0] == results[1] == results[2]


def test_what_is_unusual_alarms_by_the_model_alone():
    values = day_after_day(5)
    values[6000:6060] += 12.0
    engine = PartitionEngine(OneModel(only_the_model()))
    anomalies, _ = judged_in(engine, readings(values))
    (found,) = opened(anomalies)
    assert found.channel == "model"
    assert 0 <= found.opened_at - (BEGIN + 6000 * MINUTE) <= 10 * MINUTE
    assert "unusual to the trained model" in found.reason
    assert len(anomalies) == 2  # it is over, too


def test_without_a_model_nothing_is_kept_for_it():
    engine = PartitionEngine(OneProfile())
    judged_in(engine, readings(day_after_day(2)))
    model = engine.states[0]["model"]
    assert (model["squares"], model["steps"]) == (0.0, 0.0)
    assert not np.isfinite([model["low"], model["high"]]).any()


def test_a_model_that_comes_later_is_asked_from_then_on():
    values = day_after_day(5)
    values[6000:6060] += 12.0
    engine = PartitionEngine(OneProfile(only_the_model_without()))
    assert not judged_in(engine, readings(values[:5000]))[0]
    engine.use(OneModel(only_the_model()))
    late = [
        Reading("d", "m", BEGIN + place * MINUTE, float(values[place])) for place in range(5000, len(values))
    ]
    anomalies, _ = judged_in(engine, late, first_offset=5000)
    assert [one.channel for one in opened(anomalies)] == ["model"]


def only_the_model_without():
    return only(model=ModelLimits())


def test_absurd_values_do_no_harm():
    values = day_after_day(4)
    values[3000], values[3100], values[3200] = 1e150, -1e150, 1e-300
    panes = panes_of(values)
    assert not np.isnan(panes["features"]).any()
    forest, _ = a_forest()
    assert np.isfinite(scores_of(forest, panes)).all()
