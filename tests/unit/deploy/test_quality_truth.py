"""The faults that there were: runs of labels and silences, however the readings are cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deploy.quality.model import FaultEvent, Watched
from deploy.quality.truth import Truth
from producers.batches import ReadingBatch, SeriesTable

MINUTE = 60_000_000
END = 100 * MINUTE


def collected(rows, cuts=()):
    """Of (minute, device, metric, fault) by time; `cuts` are rows at which a piece begins."""
    names = SeriesTable()
    truth = Truth(names, MINUTE)
    rows = sorted(rows, key=lambda row: row[0])
    edges = [0, *sorted(cuts), len(rows)]
    for begin, end in pairwise(edges):
        some = rows[begin:end]
        truth.add(
            ReadingBatch.of(
                [names.series(device, metric) for _, device, metric, _ in some],
                [round(minute * MINUTE) for minute, *_ in some],
                [0.0] * len(some),
                [names.fault(fault) for *_, fault in some],
            )
        )
    return truth


def readings(minutes, fault=None, device="d", metrics=("a", "b")):
    return [(minute, device, metric, fault) for minute in minutes for metric in metrics]


def event(fault, begin, end, metrics=("a", "b"), device="d"):
    return FaultEvent(
        device, fault, begin * MINUTE, end * MINUTE, None if metrics is None else frozenset(metrics)
    )


def test_a_run_of_labels_is_an_event():
    rows = [*readings(range(100)), *readings([], device="e")]
    rows = [(m, d, x, "spike" if 10 <= m <= 12 and x == "a" else f) for m, d, x, f in rows]
    assert collected(rows).events(END) == [event("spike", 10, 12, ["a"])]


def test_up_to_three_readings_without_the_label_are_bridged():
    def labelled(minutes):
        return [(m, d, x, "noise" if m in minutes else None) for m, d, x, _ in readings(range(100))]

    assert collected(labelled({10, 14})).events(END) == [event("noise", 10, 14)]
    assert collected(labelled({10, 15})).events(END) == [event("noise", 10, 10), event("noise", 15, 15)]


def test_another_fault_or_device_is_another_event():
    rows = readings(range(50), "spike") + readings(range(50, 100), "noise")
    rows += readings(range(40, 100), "spike", device="e")
    assert collected(rows).events(END) == [
        event("spike", 0, 49),
        event("noise", 50, 99),
        event("spike", 40, 99, device="e"),
    ]


def test_a_silence_is_missing_data_from_the_last_reading_before_it():
    rows = [*readings(range(10)), *readings(range(30, 80)), *readings(range(100), device="e")]
    assert collected(rows).events(END) == [
        event("missing_data", 9, 30, None),
        event("missing_data", 79, 100, None),  # it has not ended
    ]


def test_one_silent_metric_is_no_silence_of_the_device():
    rows = readings(range(100), metrics=["a"]) + readings([0, 99], metrics=["b"])
    assert collected(rows).events(END) == []


def test_a_jitter_of_half_an_interval_is_none():
    assert collected(readings([0, 1.5, 2.4, *range(3, 100)])).events(END) == []


def test_nothing():
    truth = Truth(SeriesTable(), MINUTE)
    truth.add(ReadingBatch.of([], [], [], []))
    assert (truth.events(END), truth.watched(END)) == ([], [])


def test_devices_are_watched_from_their_first_reading():
    truth = collected(readings(range(5, 9)) + readings(range(3, 9), device="e"))
    assert sorted(truth.watched(END), key=lambda one: one.device_id) == [
        Watched("d", 5 * MINUTE, 5 * MINUTE, END, MINUTE),
        Watched("e", 3 * MINUTE, 3 * MINUTE, END, MINUTE),
    ]


rows_of = st.lists(
    st.tuples(
        st.integers(0, 99),
        st.sampled_from("de"),
        st.sampled_from("ab"),
        st.sampled_from([None, None, "spike", "noise"]),
    ),
    unique_by=lambda row: row[:3],
    max_size=60,
)


@given(rows_of, st.lists(st.integers(0, 60), max_size=5))
def test_how_the_readings_are_cut_makes_no_difference(rows, cuts):
    cuts = [min(cut, len(rows)) for cut in cuts]
    whole, cut = collected(rows), collected(rows, cuts)
    assert cut.events(END) == whole.events(END)
    assert sorted(map(str, cut.watched(END))) == sorted(map(str, whole.watched(END)))


@given(rows_of)
def test_every_label_lies_in_an_event_of_its_fault(rows):
    found = collected(rows).events(END)
    for minute, device, metric, fault in rows:
        if fault is not None:
            (own,) = (
                one
                for one in found
                if one.device_id == device
                and one.fault == fault
                and one.begin_us <= minute * MINUTE <= one.end_us
            )
            assert metric in own.metrics
    assert all(one.begin_us <= one.end_us for one in found)
