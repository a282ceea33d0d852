"""Every field is checked against the table of fields before anything is read, and fields that must fit together are."""

import math

import pytest

from configs import default, demo
from configs.studies import default as studies
from dcdp_jax.config import (
    as_plain_data,
    check_config,
    check_study,
    differences,
    flatten,
    unread_notes,
    with_defaults,
)
from dcdp_jax.errors import ConfigError
from dcdp_jax.fields import CONDITIONS, FIELDS, STUDY_FIELDS, Field, choices_of, make_config


def valid():
    """A config that passes, with tables, so that every field is read."""
    config = default.get_config()
    config.data.name = "table"
    config.data.protocol = "subject"
    config.data.table.channels = (("a", "acc", "wrist", "g"), ("b", "gyro", "wrist", "rad/s"))
    return config


def refused(check, config, **fields):
    """The one line that a check answers with."""
    with config.ignore_type():
        config.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError) as error:
        check(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def wrong_values(field: Field):
    """Values that a field must not have: of another type, out of range, none of the choices, not finite."""
    yield object
    if isinstance(field.default, tuple):
        yield "text"
        if field.items:
            yield ("text",) if field.items == (int, float) else (1.5,)
        if field.low is not None:
            yield (field.low - 1,)
        return
    yield "text" if not isinstance(field.default, str) else 1
    if isinstance(field.default, int):
        yield 0.5
    if isinstance(field.default, float):
        yield from (math.nan, math.inf, -math.inf, 1e39, -1e39, 10**39)
    if isinstance(field.default, bool):
        yield 1
    elif isinstance(field.default, int):
        yield from (True, 10**30)
    if field.choices:
        yield "no such choice"
    if field.low is not None:
        yield field.low - 1
    if field.above is not None:
        yield type(field.default)(field.above)
    if field.high is not None:
        yield field.high + 1


CASES = [
    pytest.param(field, value, id=f"{field.name}={value!r}")
    for field in (*FIELDS, *STUDY_FIELDS)
    for value in wrong_values(field)
]


@pytest.mark.parametrize(("field", "value"), CASES)
def test_wrong_values_of_every_field_are_named(field, value):
    study = field in STUDY_FIELDS
    check, config = (check_study, studies.get_config()) if study else (check_config, valid())
    check(config)
    assert refused(check, config, **{field.name: value}).startswith(field.name)


def test_defaults_are_allowed_and_choices_exist():
    for field in (*FIELDS, *STUDY_FIELDS):
        defaults = field.default if isinstance(field.default, tuple) else (field.default,)
        assert not field.choices or set(defaults) <= {*choices_of(field), ""}, field.name
    names = [field.name for field in (*FIELDS, *STUDY_FIELDS)]
    assert len(set(names)) == len(names)


def test_the_default_config_is_the_table():
    assert dict(flatten(default.get_config().to_dict())) == {field.name: field.default for field in FIELDS}
    assert make_config(STUDY_FIELDS).study.to_dict() == studies.get_config().study.to_dict()


def test_a_field_that_is_unknown_or_absent():
    config = demo.get_config()
    config.train.epoch = 3
    assert refused(check_config, config) == "there is no field train.epoch; did you mean train.epochs?"
    config = demo.get_config()
    del config.train.epochs
    assert refused(check_config, config).startswith("train.epochs is not set")


def test_fields_that_are_set_but_not_read_are_noted():
    fields = {field.name: field for field in FIELDS}
    for names, other, _, values in CONDITIONS:
        assert {*names.split(), other} <= fields.keys()
        assert not fields[other].choices or set(values) <= set(choices_of(fields[other])), other
    config = demo.get_config()
    assert unread_notes(config) == []
    config.optimizer.update({"name": "sgd", "weight_decay": 0.1, "b1": 0.8})
    config.modulation.start_epoch = 2
    config.cgm.start_epoch = 1
    assert unread_notes(config) == [
        "modulation.start_epoch=2 is not used with modulation.name='cgm'",
        "optimizer.weight_decay=0.1 is not used with optimizer.name='sgd'",
    ]
    config.optimizer.name, config.modulation.name = "adamw", "ogm"
    assert unread_notes(config) == ["cgm.start_epoch=1 is not used with modulation.name='ogm'"]
    config.cgm.enabled, config.modulation.name, config.modulation.start_epoch = False, "cgm", 0
    assert unread_notes(config) == ["cgm.start_epoch=1 is not used with cgm.enabled=False"]
    config.modulation.name = "ogm"
    assert unread_notes(config) == ["cgm.start_epoch=1 is not used with modulation.name='ogm'"]


def test_names_that_the_network_owns_are_no_branches():
    config = demo.get_config()
    for name in ("params", "projection", "fusion", "coefficients", "statistics", "rng_key"):
        config.model.branches = ((name, "resnet", ("acc",)), ("dense", "densenet", ("gyro",)))
        assert refused(check_config, config).startswith(f"model.branches: the name {name!r} is used twice, reserved")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cgm.start_epoch": 5, "cgm.end_epoch": 5}, "cgm.start_epoch=5, cgm.end_epoch=5"),
        ({"cgm.start_epoch": 12}, "cgm.start_epoch=12, cgm.end_epoch=0 and train.epochs=12 leave no epoch"),
        ({"cgm.start_epoch": 12, "cgm.end_epoch": 20}, "leave no epoch that is modulated"),
    ],
)
def test_modulation_that_never_acts(fields, message):
    assert message in refused(check_config, demo.get_config(), **fields)
    config = demo.get_config()
    config.cgm.enabled = False
    config.update_from_flattened_dict(fields)
    check_config(config)


@pytest.mark.parametrize(
    "axes", [("waist",), (("waist", "up"),), (("waist", "x"), ("waist", "y")), (("waist", "x", 1),)]
)
def test_mirrored_axes_have_a_site_each(axes):
    message = refused(check_config, demo.get_config(), **{"augment.mirror_axes": axes})
    assert message == f"augment.mirror_axes={axes!r} must look like (('waist', 'y'), ('wrist', 'x')), a site once"


@pytest.mark.parametrize("fields", [{"minutes": 1e-9}, {"minutes": 1.0, "rate": 0.001}, {"minutes": 1e5, "rate": 1e3}])
def test_synthetic_recordings_of_no_or_too_many_samples(fields):
    config = demo.get_config()
    message = refused(check_config, config, **{f"data.synthetic.{name}": value for name, value in fields.items()})
    assert "samples a person, expected 2 to 1e+08" in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modulation.name": "ogm", "model.name": "cnn"}, "modulation.name=ogm compares branches, and model.name=cnn"),
        ({"modulation.name": "rank", "model.partition": "single"}, "set --config.modulation.name=none"),
        ({"modulation.name": "arl", "modulation.start_epoch": 12}, "modulation.start_epoch=12, modulation.end_epoch=0"),
        (
            {"modulation.name": "inforeg", "modulation.placement": "after"},
            "modulation.placement='after': inforeg has only before",
        ),
        ({"modulation.name": "mmpareto", "modulation.end_epoch": 3}, "mmpareto acts in every epoch or in none"),
        ({"modulation.name": "mmpareto", "modulation.confidence": "ema"}, "mmpareto reads gradients and no confidence"),
        (
            {"modulation.name": "rank", "modulation.confidence": "heldout", "data.stream": True},
            "set --config.data.stream=False",
        ),
    ],
)
def test_other_methods_of_modulation(fields, message):
    assert message in refused(check_config, demo.get_config(), **fields)
    config = demo.get_config()
    config.update_from_flattened_dict(fields | {"modulation.name": "none"})
    check_config(config)


def test_the_scope_classification_reads_the_training_batch():
    fields = {"cgm.scope": "classification", "modulation.confidence": "heldout"}
    assert "cgm.scope='classification' reads" in refused(check_config, demo.get_config(), **fields)


def test_the_last_dense_block_has_a_sample():
    blocks = {"model.resnet_blocks": (1,) * 4, "model.densenet_blocks": (1,) * 4, "augment.enabled": False}
    message = refused(check_config, demo.get_config(), **blocks, **{"data.window": 7})
    assert message.startswith("data.window=7 is too short for the 4 blocks of model.densenet_blocks")
    assert message.endswith("expected 8 or more")
    without = {"data.window": 7, "model.partition": "single", "modulation.name": "none"}  # the first branch is a ResNet
    for fields in ({"data.window": 8}, without, {"data.window": 7, "model.name": "cnn", "modulation.name": "none"}):
        config = demo.get_config()
        config.update_from_flattened_dict(blocks | fields)
        check_config(config)


def test_one_branch_is_not_replaced():
    fields = {"model.modality_dropout": 0.2, "model.partition": "single", "modulation.name": "none"}
    assert "replaces one of several branches, and there is one" in refused(check_config, demo.get_config(), **fields)


def test_fields_of_cgm_are_not_read_by_other_methods():
    config = demo.get_config()
    config.modulation.name, config.cgm.start_epoch, config.cgm.enabled = "ogm", 1000, False
    check_config(config)


def test_the_config_of_a_run_that_is_older_than_a_field_has_its_default():
    stored = as_plain_data(demo.get_config())
    del stored["modulation"], stored["loss"]["align_reduction"]
    stored["loss"]["align_weight"] = 0.25
    config = with_defaults(stored)
    assert (config.modulation.name, config.loss.align_reduction, config.loss.align_weight) == ("cgm", "mean", 0.25)


def test_differences_ignore_where_things_are_and_fields_younger_than_the_run():
    config = demo.get_config()
    stored = as_plain_data(config)
    del stored["loss"]["label_smoothing"]
    config.data.raw_dir = "elsewhere"
    config.data.table.rate = 20.0
    assert differences(stored, as_plain_data(config)) == []
    config.loss.label_smoothing = 0.1
    assert differences(stored, as_plain_data(config)) == ["loss.label_smoothing: 0.0 -> 0.1"]


def test_choices_are_those_of_the_modules():
    """The table names modules and tuples as text; a renamed one would fail only where its field is checked."""
    for field in (*FIELDS, *STUDY_FIELDS):
        if isinstance(field.choices, str):
            assert len(choices_of(field)) > 1
