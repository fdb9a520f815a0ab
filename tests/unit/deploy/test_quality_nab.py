"""NAB's score, and the folders of series that it is of."""

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cli.main import main
from deploy.quality.nab_files import read_series, read_windows
from deploy.quality.nab_scoring import LabelledScores, nab_scores, scaled_sigmoid, weights

SHARED = Path(__file__).parents[4] / "shared"
NAB, SCORER = SHARED / "data" / "nab", SHARED / "bin" / "nab-score"


def alarms(readings, rows):
    return [1.0 if row in rows else 0.0 for row in range(readings)]


def test_no_alarm_is_nought_and_one_where_each_window_begins_is_a_hundred():
    windows = [(300, 349), (600, 649)]
    for scores, expected in ((alarms(1000, ()), 0.0), (alarms(1000, {300, 600}), 100.0)):
        found = nab_scores([LabelledScores(scores, windows)])
        assert list(found) == ["standard", "reward_low_FP", "reward_low_FN"]
        for score in found.values():
            assert (score.best, score.at_half) == (pytest.approx(expected), pytest.approx(expected))
            assert score.threshold == (1.0 if expected else None)


def test_what_an_alarm_weighs():
    found = weights(400, [(100, 199)])
    assert [window for _, window in found] == [None] * 100 + [0] * 100 + [None] * 200
    assert found[0] == (-1.0, None)
    assert found[100][0] == pytest.approx(1.0)
    assert 0.0 < found[199][0] < found[150][0] < found[100][0]
    assert found[200][0] == scaled_sigmoid(1 / 99)
    assert -1.0 < found[399][0] < found[250][0] < 0.0


def test_late_double_and_false_alarms():
    windows = [(500, 599)]

    def standard(rows):
        return nab_scores([LabelledScores(alarms(1000, rows), windows)])["standard"].at_half

    assert 50.0 < standard({560}) < standard({510}) < standard({500})
    assert standard({510, 560}) == standard({510})
    assert standard({500, 300}) == pytest.approx(100.0 - 100.0 * 0.11 / 2.0)
    assert standard({500, 605}) > standard({500, 700})
    assert standard({500, 100}) == pytest.approx(100.0)  # within the first 15 %: for learning
    assert standard({300}) < 0.0


def test_the_best_threshold_is_one_over_all_series():
    series = [
        LabelledScores(
            [0.9 if row == 500 else 0.4 if row in {300, 301} else 0.0 for row in range(1000)], [(500, 510)]
        ),
        LabelledScores([0.7 if row == 500 else 0.0 for row in range(1000)], [(500, 510)]),
    ]
    found = nab_scores(series)["standard"]
    assert (found.best, found.threshold) == (pytest.approx(100.0), 0.7)


def test_without_a_window_there_is_no_score():
    with pytest.raises(ValueError, match="no series has a window"):
        nab_scores([LabelledScores([0.0], [])])


def detector(name, rows, windows):
    """Scores of a detector that knows a little: noise with ties, higher in some of the windows."""
    draw = random.Random(name)
    scores = [round(draw.random() ** 6, 3) * 0.9 for _ in range(rows)]
    for begin, end in windows:
        if draw.random() < 0.7:
            scores[draw.randint(begin, end)] = round(draw.uniform(0.4, 1.0), 2)
    return scores


def test_the_score_is_that_of_nabs_own_scorer(tmp_path):
    if not SCORER.exists():
        pytest.skip(f"no {SCORER}")
    series = read_series(NAB)
    windows = read_windows(NAB, series)
    labelled = []
    for number, one in enumerate(series):
        scores = detector(one.name, len(one.values), windows[one.name])
        if number % 2:
            scores = [score if score > 0.6 else 0.0 for score in scores]
        labelled.append(LabelledScores(scores, windows[one.name]))
        (tmp_path / one.name).parent.mkdir(exist_ok=True)
        (tmp_path / one.name).write_text("\n".join(["score", *map(repr, scores)]) + "\n")
    done = subprocess.run(
        [sys.executable, str(SCORER), str(tmp_path)], capture_output=True, text=True, check=True
    )
    found = nab_scores(labelled)
    ours = [
        f"{name:14s} best threshold {score.best:6.2f}   at 0.5 {score.at_half:6.2f}"
        for name, score in found.items()
    ]
    assert ours == done.stdout.splitlines()
    assert found["standard"].best > 1.0


# -- folders


@pytest.fixture
def series(tmp_path):
    """A folder with two series a second apart, one of which has a spike in a window."""
    folder = tmp_path / "data"
    (folder / "calm").mkdir(parents=True)
    (folder / "wild").mkdir()
    draw = random.Random(1)
    for name, spike in (("calm/a.csv", None), ("wild/b.csv", 1500)):
        lines = ["timestamp,value"]
        for row in range(2000):
            value = 500.0 if row == spike else draw.gauss(20.0, 1.0)
            lines.append(f"2026-01-05 {row // 3600:02}:{row // 60 % 60:02}:{row % 60:02},{value:.6f}")
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def windows_file(folder, content):
    (folder / "windows.json").write_text(content if isinstance(content, str) else json.dumps(content))


WINDOW = ["2026-01-05 00:24:50.000000", "2026-01-05 00:25:30.000000"]


def test_each_reading_gets_a_score_in_a_folder_that_mirrors_the_series(series, tmp_path, capsys):
    windows_file(series, {"wild/b.csv": [WINDOW], "calm/a.csv": []})
    assert main(["evaluate", "nab", str(series), "--out", str(tmp_path / "out"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {name: said[name] for name in ("series", "readings", "windows")} == {
        "series": 2,
        "readings": 4000,
        "windows": 1,
    }
    assert set(said["scores"]) == {"standard", "reward_low_FP", "reward_low_FN"}
    assert set(said["scores"]["standard"]) == {"best", "threshold", "at_half"}
    for name in ("calm/a.csv", "wild/b.csv"):
        with (tmp_path / "out" / name).open(newline="") as written, (series / name).open(newline="") as read:
            scored, given = list(csv.DictReader(written)), list(csv.DictReader(read))
        assert [(row["timestamp"], row["value"]) for row in scored] == [
            (row["timestamp"], row["value"]) for row in given
        ]
        scores = [float(row["score"]) for row in scored]
        assert all(0.0 <= score <= 1.0 for score in scores)
    assert scores[1500] >= 0.5
    assert said["scores"]["standard"]["best"] > 50.0


def test_without_windows_there_are_scores_of_readings_alone(series, tmp_path, capsys):
    assert main(["evaluate", "nab", str(series), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "no windows.json" in shown.err
    assert "2 series, 4,000 readings" in shown.out
    assert (tmp_path / "out" / "calm" / "a.csv").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "calm/a.csv is empty"),
        ("timestamp,value\n", "calm/a.csv has no reading"),
        ("time,value\n2026-01-05,1\n", "line 1: no column timestamp among time, value"),
        ("timestamp,score\n2026-01-05,1\n", "line 1: no column value among timestamp, score"),
        ("timestamp,value\n2026-01-05,1\nyesterday,1\n", "line 3: 'yesterday' is not a time"),
        ("timestamp,value\n2026-01-05,NaN\n", "line 2: the value 'NaN' is not a finite number"),
        ("timestamp,value\n2026-01-05,\n", "line 2: the value '' is not a finite number"),
        ("timestamp,value\n2026-01-05,1e200\n", "line 2: the value '1e200' is not a finite number"),
        ("timestamp,value\n2026-01-05\n", "line 2: 1 columns"),
        (b"timestamp,value\n2026-01-05,\xff\n", "is not UTF-8 text"),
    ],
)
def test_a_bad_series_is_named_and_nothing_is_written(series, tmp_path, capsys, content, said):
    (series / "calm" / "a.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    assert main(["evaluate", "nab", str(series), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert "calm/a.csv" in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ([], "is no object"),
        ({}, "has no window"),
        ({"wild/c.csv": [WINDOW]}, "there is no wild/c.csv"),
        ({"wild/b.csv": [WINDOW[:1]]}, "is no window"),
        ({"wild/b.csv": "x"}, "'x' is no window"),
        ({"wild/b.csv": [WINDOW[::-1]]}, "ends before it begins"),
        ({"wild/b.csv": [WINDOW, WINDOW]}, "windows overlap"),
        ({"wild/b.csv": [[WINDOW[0], "2027-01-01 00:00:00"]]}, "no reading has the time 2027-01-01 00:00:00"),
        ({"wild/b.csv": [[WINDOW[0], "soon"]]}, "no reading has the time soon"),
    ],
)
def test_bad_windows_are_named(series, tmp_path, capsys, content, said):
    windows_file(series, content)
    assert main(["evaluate", "nab", str(series), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "windows.json" in shown
    assert not (tmp_path / "out").exists()


def test_no_series_and_results_among_the_series(series, tmp_path, capsys):
    assert main(["evaluate", "nab", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "is no folder" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    assert main(["evaluate", "nab", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "has no CSV file" in capsys.readouterr().err
    assert main(["evaluate", "nab", str(series), "--out", str(series / "out")]) == 2
    assert "lies in" in capsys.readouterr().err
