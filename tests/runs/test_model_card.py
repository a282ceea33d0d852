"""model.json: an equal card comes back, and a damaged one is refused in one line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.model_card import CARD, ModelCard, card_from_json, read_card
from tests.serve.making import Kind, make_card


def test_a_run_leaves_a_card_of_its_data(finished, data):
    from dcdp_jax.data.dataset import build_dataset

    card, dataset = read_card(finished), build_dataset(data)
    result = json.loads((finished / "result.json").read_text())
    assert card.inputs == card.channels == dataset.channels
    assert (card.rate, card.window, card.step, card.decimate, card.view) == (25.0, 64, 32, 1, "raw")
    assert card.shift == tuple(dataset.normalizer.shift.tolist())
    assert card.scale == tuple(dataset.normalizer.scale.tolist())
    assert card.class_names == tuple(result["class_names"])
    assert (card.best_epoch, list(card.marks), card.dataset) == (result["best_epoch"], ["synthetic"], "synthetic")
    assert [branch.name for branch in card.branches] == ["res", "dense"]
    groups = [{card.channels[i].group for i in branch.channels} for branch in card.branches]
    assert groups == [{"acc"}, {"gyro"}]


@pytest.mark.parametrize("kind", [Kind(), Kind("derived", 3), Kind(baseline="cnn")])
def test_an_equal_card_comes_back(kind):
    card = make_card(kind)
    assert card_from_json(json.loads(json.dumps(card.as_json()))) == card
    assert card.input_rate == 25.0 * kind.decimate


DAMAGE = [
    ("format", 2, "format 2, this version reads format 1"),
    ("rate", "50", "rate='50', expected a positive number"),
    ("rate", 0, "rate=0, expected a positive number"),
    ("window", 12.5, "window=12.5, expected a positive whole number"),
    ("best_epoch", True, "best_epoch=True, expected a positive whole number"),
    ("class_names", ["walk"], "expected 2 different names at least"),
    ("class_names", ["walk", "walk"], "expected 2 different names at least"),
    ("shift", [1.0], "shift=[1.0], expected 6 finite numbers, one for each channel"),
    ("scale", [1.0] * 5 + [None], "expected 6 finite numbers"),
    ("scale", [1.0] * 5 + [10**400], "expected 6 finite numbers"),
    ("channels", [{"name": "acc_x"}], "expected objects with name, group, site, unit"),
    ("branches", [{"name": "a", "backbone": "resnet", "channels": [0, 1]}], "each of the 6 channels in one branch"),
    ("view", None, "view=None, expected a string"),
    ("colour", "red", "unknown field 'colour'"),
]


@pytest.mark.parametrize(("field", "value", "message"), DAMAGE)
def test_a_damaged_card_names_file_and_field(field, value, message, tmp_path):
    content = make_card().as_json() | {field: value}
    (tmp_path / CARD).write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as raised:
        read_card(tmp_path)
    assert message in str(raised.value)
    assert str(tmp_path / CARD) in str(raised.value)


@pytest.mark.parametrize("field", ModelCard._fields)
def test_every_field_is_needed(field):
    content = make_card().as_json()
    del content[field]
    with pytest.raises(ValueError, match=f"no field '{field}'"):
        card_from_json(content)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '"card"', "\xff"])
def test_what_is_no_card_is_refused(text, tmp_path):
    (tmp_path / CARD).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match="damaged"):
        read_card(tmp_path)


def test_no_card_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        read_card(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(ModelCard._fields), value=JSON)
@settings(max_examples=300, deadline=None)
def test_any_value_in_any_field_is_read_or_refused(field, value):
    try:
        card = card_from_json(make_card().as_json() | {field: value})
    except ValueError:
        return
    assert card_from_json(card.as_json()) == card
