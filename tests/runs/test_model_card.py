"""model.json: an equal card comes back, and a damaged one is refused in one line."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.model_card import CARD, ModelCard, card_from_json, read_card
from tests.serve.making import Kind, make_card

FIELDS = ModelCard.__struct_fields__


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
    ("format", 2, "Invalid enum value 2 - at `format`"),
    ("rate", "50", "Expected `float`, got `str` - at `rate`"),
    ("rate", 0, "Expected `float` > 0.0 - at `rate`"),
    ("window", 12.5, "Expected `int`, got `float` - at `window`"),
    ("best_epoch", True, "Expected `int`, got `bool` - at `best_epoch`"),
    ("class_names", ["walk"], "Expected `array` of length >= 2 - at `class_names`"),
    ("class_names", ["walk", "walk"], "class_names=['walk', 'walk'], expected different names"),
    ("shift", [1.0], "shift=[1.0], expected 6 finite numbers, one for each channel"),
    ("scale", [1.0] * 5 + [None], "Expected `float`, got `null` - at `scale[5]`"),
    ("scale", [1.0] * 5 + [10**400], "Number out of range - at `scale[5]`"),
    ("channels", [{"name": "acc_x"}], "channels, expected a list of objects with name, group, site, unit"),
    ("branches", [{"name": "a", "backbone": "resnet", "channels": [0, 1]}], "each of the 6 channels in one branch"),
    ("view", None, "Expected `str`, got `null` - at `view`"),
    ("colour", "red", "unknown field `colour`"),
]


@pytest.mark.parametrize(("field", "value", "message"), DAMAGE)
def test_a_damaged_card_names_file_and_field(field, value, message, tmp_path):
    content = make_card().as_json() | {field: value}
    (tmp_path / CARD).write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as raised:
        read_card(tmp_path)
    assert message in str(raised.value)
    assert str(tmp_path / CARD) in str(raised.value)


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "rejection"])
def test_every_field_is_needed(field):
    content = make_card().as_json()
    del content[field]
    with pytest.raises(ValueError, match=f"required field `{field}`|no model card"):
        card_from_json(content)


def test_a_card_of_a_run_without_a_validation_part_has_no_rejection():
    content = make_card().as_json()
    assert content.pop("rejection") is None
    assert card_from_json(content).rejection is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '"card"', "\xff"])
def test_what_is_no_card_is_refused(text, tmp_path):
    (tmp_path / CARD).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / CARD)) + ": "):
        read_card(tmp_path)


def test_no_card_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        read_card(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(FIELDS), value=JSON)
@settings(max_examples=300, deadline=None)
def test_any_value_in_any_field_is_read_or_refused(field, value):
    try:
        card = card_from_json(make_card().as_json() | {field: value})
    except ValueError:
        return
    assert card_from_json(card.as_json()) == card
