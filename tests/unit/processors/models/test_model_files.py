"""Models on disk: what is written is read again, and everything that does not fit is refused with its reason."""

import hashlib
import io
import json

import numpy as np
import pytest

from processors.models.files import ModelError, load, pack_forest, save, stem
from processors.models.info import ModelKey
from processors.models.store import load_models
from tests.support.models import KEY, a_forest, info_and_content


@pytest.fixture
def saved(tmp_path):
    return save(tmp_path, *info_and_content())


def change(path, **changes):
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(data))


def change_arrays(path, **changes):
    """The forest's file with other arrays, and its sum put right."""
    info = json.loads(path.read_text())
    forest = path.with_name(info["file"])
    with np.load(io.BytesIO(forest.read_bytes())) as arrays:
        columns = dict(arrays)
    for name, edit in changes.items():
        if edit is None:
            del columns[name]
        else:
            columns[name] = edit(columns[name])
    content = io.BytesIO()
    np.savez(content, **columns)
    forest.write_bytes(content.getvalue())
    change(path, sha256=hashlib.sha256(content.getvalue()).hexdigest())


def reason(path):
    with pytest.raises(ModelError) as refused:
        load(path)
    assert refused.value.message.startswith(f"{path}: ")
    assert "model train" in refused.value.remedy
    (found,) = load_models(path.parent).refused.values()
    assert refused.value.message == f"{path}: {found}"
    return found


def test_what_was_saved_is_loaded(saved):
    info, _ = info_and_content()
    forest, _ = a_forest()
    model = load(saved)
    assert model.info == info
    assert model.forest.nodes.tobytes() == forest.nodes.tobytes()
    assert model.forest.roots.tolist() == forest.roots.tolist()
    assert (model.forest.length, model.forest.usual, model.forest.threshold) == (
        forest.length,
        forest.usual,
        forest.threshold,
    )


def test_the_same_forest_gives_the_same_bytes():
    forest, _ = a_forest()
    assert pack_forest(forest) == pack_forest(forest)


def test_a_newer_model_takes_the_place_of_the_older(tmp_path, saved):
    forest, make = a_forest(seed=2)
    assert save(tmp_path, *info_and_content(forest, make)) == saved
    assert load(saved).forest.nodes.tobytes() == forest.nodes.tobytes()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".npz"]


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a.b", "c"), ("a", "b.c")), (("a/b", "c*"), ("a%2Fb", "c*")), (("ofen ü", "°C"), ("..", "x"))],
)
def test_any_name_has_files_of_its_own(tmp_path, one, other):
    keys = [ModelKey(*one), ModelKey(*other)]
    for key in keys:
        save(tmp_path, *info_and_content(key=key))
    assert len({stem(key) for key in keys}) == 2
    assert set(load_models(tmp_path).usable) == set(keys)


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        save(tmp_path / "file", *info_and_content())


def test_no_json(saved):
    saved.write_bytes(b"\x80\x04pickle")
    assert reason(saved) == "it is no JSON"


def test_no_object(saved):
    saved.write_text("[1]")
    assert reason(saved) == "it is no JSON object"


def test_another_format(saved):
    change(saved, format=2)
    assert reason(saved) == "its format is 2, this software reads 1"


def test_a_key_too_many(saved):
    change(saved, more=1)
    assert reason(saved).startswith("more: ")


def test_a_key_too_few(saved):
    data = json.loads(saved.read_text())
    del data["threshold"]
    saved.write_text(json.dumps(data))
    assert reason(saved) == "threshold: field required"


@pytest.mark.parametrize("threshold", [1.5, -1, "high", None])
def test_a_threshold_that_is_none(saved, threshold):
    change(saved, threshold=threshold)
    assert reason(saved).startswith("threshold: ")


def test_a_threshold_below_what_is_usual(saved):
    change(saved, threshold=0.1)
    assert "threshold must be above usual" in reason(saved)


def test_other_features(saved):
    change(saved, features=["level", "humour"])
    assert "it has humour; it lacks above, below" in reason(saved)


def test_features_in_another_order(saved):
    change(saved, features=list(reversed(json.loads(saved.read_text())["features"])))
    assert "another order" in reason(saved)


def test_a_file_under_another_name(saved):
    other = saved.rename(saved.with_name("heater.temperature.json"))
    assert reason(other) == "it is for oven temperature, whose file is oven.temperature.json"


def test_a_forest_elsewhere(saved):
    change(saved, file="../oven.npz")
    assert "is no name of a file beside it" in reason(saved)


def test_a_forest_that_is_missing(saved):
    next(saved.parent.glob("*.npz")).unlink()
    assert "cannot be read: No such file" in reason(saved)


def test_a_forest_that_is_damaged(saved):
    (forest,) = saved.parent.glob("*.npz")
    content = bytearray(forest.read_bytes())
    content[len(content) // 2] ^= 1
    forest.write_bytes(content)
    assert "is not the file that belongs to it" in reason(saved)


def test_a_forest_that_is_none(saved):
    (forest,) = saved.parent.glob("*.npz")
    forest.write_bytes(b"something")
    change(saved, sha256=hashlib.sha256(b"something").hexdigest())
    assert "has no forest" in reason(saved)


def test_objects_are_not_unpickled(saved):
    change_arrays(saved, roots=lambda roots: np.array([roots, "text"], dtype=object))
    assert "has no forest" in reason(saved)
    assert "allow_pickle=False" in reason(saved)


def test_an_array_that_is_missing(saved):
    change_arrays(saved, next=None)
    assert "has no forest" in reason(saved)


def test_an_array_of_another_kind(saved):
    change_arrays(saved, cut=lambda cut: cut.astype(np.float64))
    assert "cut is float64" in reason(saved)


def test_fewer_trees_than_it_says(saved):
    change_arrays(saved, roots=lambda roots: roots[:-1])
    assert "roots is int64(99,), not int64(100,)" in reason(saved)


def at_place(place, to):
    def edit(column):
        column[place] = to
        return column

    return edit


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"roots": at_place(0, -1)}, "a tree begins outside of the nodes"),
        ({"roots": at_place(0, 10**9)}, "a tree begins outside of the nodes"),
        ({"feature": at_place(0, 9)}, "asks about a feature that there is not"),
        ({"feature": at_place(0, -2)}, "asks about a feature that there is not"),
        ({"next": at_place(0, 0)}, "a node leads to none"),  # a loop
        ({"feature": at_place(-1, 0), "next": at_place(-1, 1)}, "a node leads to none"),
        ({"next": at_place(-1, 65535)}, "a leaf has no path"),
        ({"cut": at_place(0, np.nan)}, "no finite number"),
        ({"paths": at_place(0, np.inf)}, "no finite number"),
    ],
)
def test_a_forest_that_would_lead_astray(saved, changes, said):
    change_arrays(saved, **changes)
    assert said in reason(saved)


def test_one_that_is_refused_does_not_stand_in_the_way_of_others(tmp_path, saved):
    other = save(tmp_path, *info_and_content(key=ModelKey("heater", "temperature")))
    change(other, format=9)
    models = load_models(tmp_path)
    assert list(models.usable) == [KEY]
    assert list(models.refused) == [other]
