"""The stage of troubles: what it does to a stream, and that nothing about it depends on how it is run."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from troubles_grid import INTERVAL_US, START_US, Grid

from producers.batches import ReadingBatch
from producers.troubles import Sends, Trouble, Troubles, TroubleSettings, parse_troubles

MINUTE = 60_000_000
ALL = parse_troubles(
    [
        "late=5%",
        "late.delay=20s-40s",
        "out_of_order=10%",
        "out_of_order.window=3s",
        "duplicated=5%",
        "duplicated.copies=2",
        "duplicated.delay=0s-10s",
        "clock_skew=30%",
        "dropped=5%",
        "burst=30%",
        "burst.every=30s",
        "burst.hold=5s-10s",
        "malformed=5%",
    ]
)

# Many messages of one moment: copies with their firsts, what is late with what is on time.
TIES = parse_troubles(
    [
        "late=20%",
        "late.delay=5s",
        "duplicated=30%",
        "duplicated.copies=2",
        "duplicated.delay=0s",
        "burst=50%",
        "burst.every=30s",
        "burst.hold=10s",
    ]
)


def run(settings, grid=None, cuts=(), end=MINUTE, seed=1):
    """All messages of a simulation that is cut at these µs, one behind the other, and the stage."""
    grid = grid or Grid()
    troubles = Troubles(settings, seed, grid.table)
    edges = [START_US, *(START_US + cut for cut in sorted(cuts)), START_US + end]
    parts = [troubles.apply(grid.between(begin, until), until) for begin, until in itertools.pairwise(edges)]
    return Sends.joined([*parts, troubles.drain()]), troubles


def rows(sends, names=None):
    """Messages as tuples; values as bits, for NaN."""
    columns = sends.columns() | {"value": sends.batch.value.view(np.int64)}
    return list(zip(*(columns[name].tolist() for name in names or columns), strict=True))


def test_without_troubles_the_batch_goes_through():
    grid = Grid()
    batch = grid.between(START_US, START_US + MINUTE)
    troubles = Troubles(TroubleSettings(), 1, grid.table)
    sends = troubles.apply(batch, START_US + MINUTE)
    assert sends.batch is batch
    assert sends.send_us is batch.time
    assert not sends.troubles.any()
    assert not sends.malformed.any()
    assert (
        troubles.counts.messages == troubles.counts.distinct == troubles.counts.readings == len(batch) == 2400
    )
    assert troubles.next_us() is None


@pytest.mark.parametrize("settings", [ALL, TIES], ids=["all", "ties"])
@given(cuts=st.lists(st.integers(0, MINUTE), max_size=12), seed=st.integers(0, 2**32))
def test_cutting_time_changes_nothing(settings, cuts, seed):
    whole, one = run(settings, seed=seed)
    pieces, many = run(settings, cuts=cuts, seed=seed)
    assert rows(pieces) == rows(whole)
    assert many.counts == one.counts


def test_cutting_time_at_every_message_changes_nothing():
    whole, _ = run(ALL, Grid(2))
    pieces, _ = run(ALL, Grid(2), cuts=range(0, MINUTE, 250_000))
    assert rows(pieces) == rows(whole)


def test_messages_come_in_order_and_never_before_they_were_read():
    sends, _ = run(ALL, cuts=range(0, MINUTE, 1_234_567))
    assert (np.diff(sends.send_us) >= 0).all()
    assert (sends.send_us >= sends.true_us).all()


def test_nothing_goes_out_after_the_time_asked_for():
    grid = Grid()
    troubles = Troubles(ALL, 1, grid.table)
    for begin in range(START_US, START_US + MINUTE, 5_000_000):
        until = begin + 5_000_000
        waits_until = troubles.next_us()
        sends = troubles.apply(grid.between(begin, until), until)
        assert sends.send_us.max() < until <= troubles.next_us()
        if waits_until is not None and waits_until < until:
            assert waits_until in sends.send_us
    waiting = troubles.waiting
    assert len(troubles.drain()) == waiting > 0
    assert troubles.waiting == 0


def test_what_waits_goes_out_without_new_readings():
    grid = Grid()
    troubles = Troubles(parse_troubles(["late=1", "late.delay=10s"]), 1, grid.table)
    assert len(troubles.apply(grid.between(START_US, START_US + 1_000_000), START_US + 1_000_000)) == 0
    nothing = ReadingBatch.of([], [], [], [])
    assert len(troubles.apply(nothing, START_US + 10_000_000)) == 0
    sends = troubles.apply(nothing, START_US + 11_000_000)
    assert len(sends) == 40
    assert (sends.send_us - sends.true_us == 10_000_000).all()


def test_other_devices_change_nothing():
    few, _ = run(ALL, Grid(5))
    many, _ = run(ALL, Grid(30))
    theirs = many.take(np.flatnonzero(many.batch.series < 10))
    assert rows(theirs) == rows(few)


def test_new_devices_may_come_later():
    grid, growing = Grid(20), Grid(5)
    whole, _ = run(ALL, grid)
    troubles = Troubles(ALL, 1, growing.table)
    parts, end = [], START_US + MINUTE
    for begin in range(START_US, end, MINUTE // 4):
        until = begin + MINUTE // 4
        parts.append(troubles.apply(growing.between(begin, until), until))
        for number in range(5, 20):
            for metric in ("a", "b"):
                growing.table.series(f"d{number}", metric)
    sends = Sends.joined([*parts, troubles.drain()])
    assert rows(sends) == rows(whole.take(np.flatnonzero(whole.batch.series < 10)))


@pytest.mark.parametrize("name", TroubleSettings.model_fields)
def test_troubles_are_independent(name):
    """Switching one off leaves what befalls a reading otherwise as it was."""
    without = ALL.model_copy(update={name: TroubleSettings.model_fields[name].default})
    own = {
        "late": Trouble.LATE,
        "out_of_order": Trouble.OUT_OF_ORDER,
        "duplicated": Trouble.DUPLICATE,
        "clock_skew": Trouble.SKEWED,
        "burst": Trouble.HELD,
        "malformed": Trouble.MALFORMED,
    }.get(name, Trouble(0))

    def befallen(settings):
        sends, _ = run(settings)
        other = sends.troubles & ~np.uint8(own)
        first = sends.take(np.flatnonzero(sends.copy == 0)) if name == "duplicated" else sends
        other = other[sends.copy == 0] if name == "duplicated" else other
        return dict(zip(rows(first, ["series", "true_us", "copy"]), other.tolist(), strict=True))

    with_it, without_it = befallen(ALL), befallen(without)
    if name == "dropped":
        assert len(with_it) < len(without_it)
        assert with_it == {place: without_it[place] for place in with_it}
    else:
        assert with_it == without_it


@given(st.integers(0, MINUTE), st.integers(0, 2**32))
def test_a_snapshot_goes_on_where_it_was_made(cut, seed):
    whole, one = run(ALL, seed=seed)
    grid = Grid()
    first = Troubles(ALL, seed, grid.table)
    before = first.apply(grid.between(START_US, START_US + cut), START_US + cut)
    state = first.snapshot()
    first.drain()
    second = Troubles(ALL, seed, Grid().table)
    second.restore(state)
    end = START_US + MINUTE
    after = second.apply(grid.between(START_US + cut, end), end)
    assert rows(Sends.joined([before, after, second.drain()])) == rows(whole)
    assert second.counts == one.counts


def test_a_snapshot_is_plain_arrays(tmp_path):
    _, troubles = run(ALL)
    grid = Grid()
    troubles.apply(grid.between(START_US + MINUTE, START_US + 2 * MINUTE), START_US + 2 * MINUTE)
    np.savez(tmp_path / "state.npz", **troubles.snapshot())
    again = Troubles(ALL, 1, grid.table)
    with np.load(tmp_path / "state.npz") as state:
        again.restore(dict(state))
    assert again.waiting == troubles.waiting > 0
    assert rows(again.drain()) == rows(troubles.drain())


def test_a_snapshot_fits_another_table():
    """Series and faults are saved by name."""
    grid, other = Grid(5), Grid(0)
    for name in ("d9", "d3", "d4", "d0"):
        other.table.fault(f"fault of {name}")
        other.table.series(name, "b")
    settings = parse_troubles(["late=1", "late.delay=1m"])
    first, second = Troubles(settings, 1, grid.table), Troubles(settings, 1, other.table)
    first.apply(grid.between(START_US, START_US + MINUTE), START_US + MINUTE)
    second.restore(first.snapshot())

    def named(troubles, table):
        sends = troubles.drain()
        return {
            (
                table.device_ids[series],
                table.metrics[series],
                time,
                value,
                table.faults[fault] if fault >= 0 else None,
            )
            for series, time, value, fault in rows(sends, ["series", "true_us", "value", "fault"])
        }

    expected = named(first, grid.table)
    assert len(expected) == 600
    assert {fault for *_, fault in expected} == {None, "spike"}
    assert named(second, other.table) == expected


def test_what_is_no_snapshot_is_refused():
    troubles = Troubles(ALL, 1, Grid().table)
    state = troubles.snapshot()
    for missing in ("value", "faults", "counts"):
        with pytest.raises(KeyError):
            troubles.restore({name: column for name, column in state.items() if name != missing})
    with pytest.raises(ValueError, match="one length"):
        troubles.restore(state | {"value": np.zeros(3)})


def test_the_counts_are_the_truth():
    sends, troubles = run(ALL, Grid(50), end=4 * MINUTE)
    counts, flags = troubles.counts, sends.troubles
    assert counts.readings == 50 * 2 * 240
    assert counts.messages == len(sends) == counts.readings - counts.dropped + counts.duplicates
    formed = sends.take(np.flatnonzero(sends.malformed == 0))
    assert counts.distinct == len(set(rows(formed, ["series", "time"])))
    assert counts.malformed == np.count_nonzero(sends.malformed)
    assert counts.duplicates == np.count_nonzero(sends.copy)
    for trouble, count in [
        (Trouble.LATE, counts.late),
        (Trouble.OUT_OF_ORDER, counts.out_of_order),
        (Trouble.HELD, counts.held),
        (Trouble.SKEWED, counts.skewed),
        (Trouble.DUPLICATE, counts.duplicates),
        (Trouble.MALFORMED, counts.malformed),
    ]:
        assert count == np.count_nonzero(flags & np.uint8(trouble))
        assert count > 100


def expect_share(count, of, share):
    """Within five standard deviations of a binomial."""
    assert abs(count - of * share) <= 5.0 * (of * share * (1.0 - share)) ** 0.5


def test_dropped():
    sends, troubles = run(parse_troubles(["dropped=3%"]), end=10 * MINUTE)
    expect_share(troubles.counts.dropped, 24_000, 0.03)
    assert len(sends) == 24_000 - troubles.counts.dropped


def test_late():
    sends, troubles = run(parse_troubles(["late=3%", "late.delay=1m-2m"]), end=10 * MINUTE)
    expect_share(troubles.counts.late, 24_000, 0.03)
    delay = (sends.send_us - sends.true_us)[sends.troubles == Trouble.LATE]
    assert MINUTE <= delay.min() < 1.05 * MINUTE
    assert 1.95 * MINUTE < delay.max() <= 2 * MINUTE
    assert (sends.send_us == sends.true_us)[sends.troubles == 0].all()


def test_out_of_order():
    sends, troubles = run(parse_troubles(["out_of_order=10%", "out_of_order.window=5s"]), end=10 * MINUTE)
    expect_share(troubles.counts.out_of_order, 24_000, 0.1)
    delay = (sends.send_us - sends.true_us)[sends.troubles != 0]
    assert delay.min() > 0
    assert delay.max() <= 5_000_000
    of_one = sends.batch.time[sends.batch.series == 0]
    assert np.count_nonzero(np.diff(of_one) < 0) > 20


def test_duplicated():
    settings = parse_troubles(["duplicated=2%", "duplicated.copies=3", "duplicated.delay=1s-2s", "late=5%"])
    sends, troubles = run(settings, end=10 * MINUTE)
    expect_share(troubles.counts.duplicates / 3, 24_000, 0.02)
    first = dict(
        zip(
            rows(sends.take(np.flatnonzero(sends.copy == 0)), ["series", "true_us"]),
            sends.send_us[sends.copy == 0].tolist(),
            strict=True,
        )
    )
    copies = sends.take(np.flatnonzero(sends.copy))
    for series, true, send in rows(copies, ["series", "true_us", "send_us"]):
        assert 1_000_000 <= send - first[series, true] <= 2_000_000
    assert sorted(set(copies.copy.tolist())) == [1, 2, 3]


def test_a_duplicate_is_the_same_message():
    sends, _ = run(ALL)
    kept = ["series", "true_us", "time", "value", "fault", "malformed"]
    firsts = set(rows(sends.take(np.flatnonzero(sends.copy == 0)), kept))
    copies = rows(sends.take(np.flatnonzero(sends.copy)), kept)
    assert len(copies) > 100
    assert set(copies) <= firsts


def test_burst():
    settings = parse_troubles(["burst=40%", "burst.every=2m", "burst.hold=10s-30s"])
    sends, troubles = run(settings, Grid(100), end=20 * MINUTE)
    held = sends.troubles == Trouble.HELD
    device = sends.batch.series // 2
    expect_share(len(set(device[held].tolist())), 100, 0.4)
    assert ((sends.send_us > sends.true_us) == held).all()
    for one in sorted(set(device[held].tolist()))[:10]:
        mine = device == one
        assert (np.diff(sends.true_us[mine]) >= 0).all()  # a device keeps its order
        at = np.unique(sends.send_us[mine & held])
        assert 9 <= len(at) <= 11  # one loss every two minutes, of both metrics at once
        for back in at.tolist():
            times = sends.true_us[mine & held & (sends.send_us == back)]
            if times.min() < START_US + 31_000_000 or back > START_US + 20 * MINUTE:
                continue  # cut off by the simulation's ends
            assert len(times) >= 2 * 9
            assert back - times.min() <= 30_000_000
            between = sends.send_us[mine & (sends.true_us < times.min())]
            assert between.max() < times.min()
    assert troubles.counts.held == np.count_nonzero(held)


def test_clock_skew():
    settings = parse_troubles(["clock_skew=50%", "clock_skew.offset=10s-20s", "clock_skew.drift_ppm=0"])
    sends, _ = run(settings, Grid(200), end=MINUTE)
    off = sends.batch.time - sends.true_us
    skewed = sends.troubles == Trouble.SKEWED
    assert (off[~skewed] == 0).all()
    assert (np.abs(off[skewed]) >= 10_000_000).all()
    assert (np.abs(off[skewed]) <= 20_000_000).all()
    device = sends.batch.series // 2
    by_device = [set(off[device == one].tolist()) for one in range(200)]
    assert all(len(offsets) == 1 for offsets in by_device)  # constant, for all metrics
    expect_share(sum(offsets != {0} for offsets in by_device), 200, 0.5)
    expect_share(
        sum(max(offsets) > 0 for offsets in by_device), sum(offsets != {0} for offsets in by_device), 0.5
    )


@pytest.mark.parametrize(("direction", "sign"), [("ahead", 1), ("behind", -1)])
def test_the_direction_of_wrong_clocks(direction, sign):
    settings = parse_troubles(
        [
            "clock_skew=1",
            "clock_skew.offset=1s-5s",
            f"clock_skew.direction={direction}",
            "clock_skew.drift_ppm=0",
        ]
    )
    sends, _ = run(settings)
    assert (np.sign(sends.batch.time - sends.true_us) == sign).all()


def test_drifting_clocks():
    """They gain or lose at their rate, for half a day, and stay within what that gives."""
    settings = parse_troubles(["clock_skew=1", "clock_skew.offset=0s", "clock_skew.drift_ppm=100"])
    hour = 60 * MINUTE
    sends, _ = run(settings, Grid(20, interval_us=hour), end=72 * hour)
    off = sends.batch.time - sends.true_us
    assert np.abs(off).max() <= 2_160_000  # 100 ppm of a quarter of a day
    for series in range(0, 40, 2):
        steps = np.diff(off[sends.batch.series == series])
        gaining = np.count_nonzero(steps == 360_000)
        losing = np.count_nonzero(steps == -360_000)
        assert gaining >= 30
        assert losing >= 30
        assert gaining + losing >= 71 - 6  # the others are those in which it turned


@given(
    st.integers(0, 2**62),
    st.lists(st.integers(2, 10**12), min_size=1, max_size=200),
    st.integers(0, 2**32),
)
def test_wrong_clocks_keep_times_apart(begin, gaps, seed):
    grid = Grid(1)
    settings = parse_troubles(["clock_skew=1", "clock_skew.drift_ppm=1000"])
    time = begin // 2 + np.cumsum(np.array(gaps, np.int64))
    batch = ReadingBatch(np.zeros(len(time), np.int64), time, np.ones(len(time)), np.full(len(time), -1))
    troubles = Troubles(settings, seed, grid.table)
    sends = troubles.apply(batch, int(time[-1]) + 1)
    assert (np.diff(sends.batch.time) > 0).all()


def test_malformed():
    sends, troubles = run(
        parse_troubles(["malformed=5%", "malformed.kinds=empty,non_finite"]), end=10 * MINUTE
    )
    expect_share(troubles.counts.malformed, 24_000, 0.05)
    assert set(sends.malformed.tolist()) == {0, 6, 7}
    expect_share(np.count_nonzero(sends.malformed == 7), troubles.counts.malformed, 0.5)
    bad = sends.batch.value[sends.malformed == 6]
    assert {str(value) for value in bad.tolist()} == {"nan", "inf", "-inf"}
    assert np.isfinite(sends.batch.value[sends.malformed != 6]).all()


def test_the_fleets_batch_is_left_as_it_was():
    grid = Grid()
    batch = grid.between(START_US, START_US + MINUTE)
    before = [batch.series.copy(), batch.time.copy(), batch.value.copy(), batch.fault.copy()]
    Troubles(ALL, 1, grid.table).apply(batch, START_US + MINUTE)
    for column, was in zip((batch.series, batch.time, batch.value, batch.fault), before, strict=True):
        assert (column == was).all()


def test_another_seed_is_another_stream():
    one, _ = run(ALL, seed=1)
    other, _ = run(ALL, seed=2)
    assert rows(one) != rows(other)


@pytest.mark.parametrize(
    ("settings", "messages", "digest"),
    [(ALL, 197, "07e23791715c8bf7"), (TIES, 320, "1770d2203db7ea68")],
    ids=["all", "ties"],
)
def test_the_stream_of_a_seed_stays_what_it_is(settings, messages, digest):
    """Recorded simulations rely on it; a change here must be meant."""
    sends, troubles = run(settings, Grid(10), end=10 * INTERVAL_US)
    columns = (np.ascontiguousarray(column).tobytes() for column in sends.columns().values())
    found = hashlib.blake2b(b"".join(columns), digest_size=8).hexdigest()
    assert (troubles.counts.messages, found) == (messages, digest)
