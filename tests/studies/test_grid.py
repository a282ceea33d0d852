"""A study's config becomes the right runs, and a wrong one an error."""

import json
import re
from pathlib import Path

import pytest

from configs.studies import (
    crossval,
    default,
    full_width,
    placement,
    sgd_learning_rate,
    table1,
    table2,
    table3,
    tuning,
    your_own,
)
from dcdp_jax.config import as_plain_data, check_config, check_study
from dcdp_jax.errors import ConfigError
from dcdp_jax.studies.grid import overridden, stages_of, trials_of, with_fields
from dcdp_jax.studies.worker import as_config


def small_study(rows, **study):
    config = default.get_config()
    config.study.quick = True
    config.study.stages = (default.stage("A", rows),)
    config.study.update(study)
    return config


def trials(config, base=None):
    return [trial for stage in stages_of(config) for trial in trials_of(config, stage, base or {})]


def test_every_combination_once_with_seeds_side_by_side():
    found = trials(small_study({"a": {}, "b": {"cgm.alpha": 0.5}}, folds=(0, 1)))
    assert [(t.row, t.fold, t.seed) for t in found] == [(r, f, s) for r in "ab" for f in (0, 1) for s in (0, 1)]
    assert [t.config.cgm.alpha for t in found] == [0.9] * 4 + [0.5] * 4
    assert [(t.config.data.fold, t.config.seed) for t in found] == [(t.fold, t.seed) for t in found]
    assert len({t.name for t in found}) == 8


def test_the_study_of_the_documentation_is_a_study():
    page = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(program, names)
    config = names["get_config"]()
    check_study(config)
    found = trials(config)
    assert [(t.row, t.seed) for t in found] == [(r, s) for r in ("without CGM", "CGM after AdamW") for s in range(3)]
    assert [(t.config.cgm.enabled, t.config.cgm.placement) for t in found[::3]] == [(False, "before"), (True, "after")]
    for trial in found:
        check_config(trial.config)


def test_a_row_comes_after_what_earlier_stages_chose():
    found = trials(small_study({"a": {"cgm.alpha": 0.5}}), base={"cgm.alpha": 0.1, "optimizer.learning_rate": 0.02})
    assert {(t.config.cgm.alpha, t.config.optimizer.learning_rate) for t in found} == {(0.5, 0.02)}


def test_the_name_follows_the_config_but_not_where_things_are():
    first, second = trials(small_study({"a": {}}))
    (moved, _) = trials(small_study({"a": {}}, raw_dir="/elsewhere", cache_dir="/there"))
    (other, _) = trials(small_study({"a": {"cgm.eps": 1e-7}}))
    assert moved.name == first.name
    assert len({first.name, second.name, other.name}) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": {"cgm.alfa": 1}}, r"row 'a' on synthetic: there is no field cgm\.alfa; did you mean cgm\.alpha\?"),
        ({"a": {"nothing.alpha": 1}}, r"there is no field nothing\.alpha"),
        ({"a": {"cgm.alpha.x": 1}}, r"there is no field cgm\.alpha\.x"),
        ({"a": {"cgm.alpha": "high"}}, "cgm.alpha='high' is not a number"),
        ({"a": {"cgm.alpha": -1.0}}, "cgm.alpha=-1.0 is below 0"),
        (
            {"a": {"sinthetic:cgm.alpha": 0.5}},
            "row 'a': sinthetic:cgm.alpha is for the data set 'sinthetic', expected one",
        ),
        ({"a": {"seed": 7}}, r"row 'a' sets seed, which study\.seeds gives; take it out"),
        ({"a": {"synthetic:data.fold": 1}}, r"row 'a' sets data\.fold, which study\.folds gives"),
        ({}, "at least one row"),
    ],
)
def test_bad_rows_are_named(rows, message):
    with pytest.raises(ConfigError, match=message):
        trials(small_study(rows))


def test_bad_comparisons_and_stages_are_named():
    with pytest.raises(ConfigError, match="'b' is not one of the rows a"):
        trials(small_study({"a": {}}, compare=(("a", "b"),)))
    with pytest.raises(ConfigError, match=r"study\.stages must be"):
        trials(small_study({"a": {}}, stages=("A",)))
    for stages in (
        (("A", ((1, ()),)),),
        (("A", (("a", ((1, 2),)),)),),
        ((None, (("a", ()),)),),
    ):
        with pytest.raises(ConfigError, match=r"study\.stages must be"):
            trials(small_study({"a": {}}, stages=stages))
    twice = (("A", (("a", (("cgm.alpha", 0.1), ("cgm.alpha", 0.2))),)),)
    with pytest.raises(ConfigError, match=r"row 'a' sets a field twice: cgm\.alpha, cgm\.alpha"):
        trials(small_study({"a": {}}, stages=twice))
    with pytest.raises(ConfigError, match="every name once: a, a"):
        trials(small_study({"a": {}}, stages=(default.stage("A", {"a": {}}), default.stage("B", {"a": {}}))))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        (
            "a/b",
            default.smallest(),
            "datasets: 'a/b' names files of the study's tables, expected a name without a slash",
        ),
        ("a", "uci_har", "datasets.a is a str, expected the ConfigDict of a run"),
        (
            "a",
            {"data": {"name": "synthetic"}},
            r"datasets\.a: seed is not set; derive the config from configs/default.py",
        ),
    ],
)
def test_what_is_no_data_set_is_named(name, config, message):
    study = small_study({"a": {}}, quick=False)
    study.datasets[name] = config
    with pytest.raises(ConfigError, match=message):
        trials(study)


def test_data_sets_whose_files_would_have_one_name_are_refused():
    study = small_study({"a": {}}, quick=False)
    study.datasets["步行"] = study.datasets["跑步"] = default.smallest()
    with pytest.raises(ConfigError, match="files of '步行' and '跑步' would begin alike; rename one in ASCII"):
        trials(study)


def test_fields_are_set_in_a_copy():
    config = default.smallest()
    assert with_fields(config, {"model.width": 6}).model.width == 6
    assert config.model.width == 4


def test_a_config_survives_the_way_to_the_worker():
    (trial, *_) = trials(small_study({"a": {}}))
    config = as_config(json.loads(json.dumps(as_plain_data(trial.config))))
    assert config.to_dict() == trial.config.to_dict()


def test_a_field_for_one_data_set_alone():
    fields = {"synthetic:cgm.alpha": 0.2, "other:cgm.alpha": 0.3, "cgm.eps": 1e-6}
    config = small_study({"a": fields})
    config.datasets.other = default.smallest()
    (trial, _) = trials(config)
    assert (trial.config.cgm.alpha, trial.config.cgm.eps) == (0.2, 1e-6)


def test_a_field_for_one_data_set_comes_after_that_for_all_and_a_row_after_the_stages_before_it():
    one, every = "synthetic:cgm.alpha", "cgm.alpha"
    for fields, base, alpha in (
        ({one: 0.2, every: 0.3}, {}, 0.2),
        ({every: 0.3, one: 0.2}, {}, 0.2),
        ({every: 0.3}, {one: 0.2}, 0.3),
        ({every: 0.3}, {every: 0.1, one: 0.2}, 0.3),
        ({one: 0.3}, overridden({one: 0.1}, {every: 0.2}), 0.3),
        ({}, overridden({every: 0.4, one: 0.1}, {every: 0.2}), 0.2),
    ):
        (trial, _) = trials(small_study({"a": fields}), base)
        assert trial.config.cgm.alpha == alpha, (fields, base)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(
    ("study", "names", "rows"),
    [
        (table1, ("opportunity",), 19),
        (table1, ("uci_har",), 19),
        (table2, ("pamap2,opportunity",), 14),
        (table2, ("uci_har,dsads,hapt",), 14),
        (table3, ("opportunity,wisdm_paper,uci_har,pamap2",), 17),
        (table3, ("wisdm",), 17),
        (placement, (), 14),
        (sgd_learning_rate, (), 4),
        (tuning, ("uci_har,wisdm",), 7),
        (crossval, ("uci_har,hapt",), 16),
        (full_width, (), 3),
    ],
)
def test_every_study_has_its_rows(study, names, rows, quick):
    config = study.get_config(*names)
    config.study.quick = quick
    found = trials(config)  # checks the config of every trial
    datasets = 1 if quick else len(config.datasets)
    assert len({t.row for t in found}) == rows
    points = sum(len(stage.rows) * (config.study.inner_folds if stage.inner else 1) for stage in stages_of(config))
    assert len(found) == points * datasets * len(config.quick.seeds if quick else config.study.seeds)


@pytest.mark.parametrize(
    ("division", "folds"), [("groups,3", ((3, 0), (3, 1), (3, 2))), ("loso,4", ((10, 0), (10, 1), (10, 2), (10, 3)))]
)
@pytest.mark.parametrize("quick", [False, True])
def test_own_data_has_every_baseline_in_every_fold(division, folds, quick):
    config = your_own.get_config(division)
    config.study.quick = quick
    found = trials(config)
    rows = {"Random forest": "random_forest", "CNN": "cnn", "DCDP-HAR without CGM": "dcdp_har", "DCDP-HAR": "dcdp_har"}
    assert {(t.row, t.config.model.name) for t in found} == set(rows.items())
    assert [t.row for t in found if t.config.cgm.enabled] == ["DCDP-HAR"] * (len(found) // 4)
    assert sorted({(t.config.data.folds, t.fold) for t in found}) == sorted(folds)
    assert {t.config.data.protocol for t in found} == {division.partition(",")[0]}
    assert len(found) == 4 * len(folds) * (2 if quick else 3)


def test_the_rivals_by_groups_of_people_on_two_machines():
    def asked(rows):
        config = table3.get_config(f"uci_har,hapt:groups,5:{rows}")
        return config, {trial.name for trial in trials(config)}

    (_, whole), (classical, fitted), (networks, trained) = (asked(rows) for rows in ("all", "classical", "networks"))
    assert len(fitted) == 6 * 2 * 5 * 5
    assert len(trained) == 11 * 2 * 5 * 5
    assert fitted | trained == whole
    assert not fitted & trained
    for config in (classical, networks):
        found = [trial.config.data for trial in trials(config)]
        assert {(data.protocol, data.folds, data.fold) for data in found} == {("groups", 5, fold) for fold in range(5)}


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ("uci_har:groups,5:trees", r"the choice of rows 'trees' is not one of all, networks, classical"),
        ("uci_har:groups,2", r"'groups,2': expected groups,FOLDS or loso,SUBJECTS with three at least"),
        ("uci", r"'uci' is not one of this study's data sets: opportunity, wisdm_paper"),
    ],
)
def test_a_part_of_table_3_that_does_not_exist_is_refused(asked, error):
    with pytest.raises(ConfigError, match=error):
        table3.get_config(asked)


def test_nested_selection_divides_the_training_subjects_in_all_stages_but_the_last():
    config = crossval.get_config()
    found = trials(config)
    inner, final = [t for t in found if t.row != "final"], [t for t in found if t.row == "final"]
    assert {(t.config.data.within, t.config.data.protocol, t.config.data.folds) for t in inner} == {
        ("official", "groups", 5)
    }
    assert {t.fold for t in inner} == {0, 1, 2, 3, 4}
    assert {(t.config.data.within, t.config.data.protocol, t.fold) for t in final} == {("", "official", 0)}
    assert {t.config.data.validation for t in found} == {"none"}


@pytest.mark.parametrize("quick", [False, True])
def test_at_full_width_every_subject_of_the_training_part_trains_and_the_last_epoch_is_tested(quick):
    config = full_width.get_config()
    config.study.quick = quick
    assert {(t.config.data.validation, t.config.train.selection) for t in trials(config)} == {("none", "last")}


@pytest.mark.parametrize("wrong", [{"folds": (0, 1)}, {"stages": (default.stage("A", {"final": {}}),), "compare": ()}])
def test_nested_selection_without_a_single_last_stage_is_refused(wrong):
    config = crossval.get_config()
    config.study.update(wrong)
    with pytest.raises(ConfigError, match=r"study\.inner_folds chooses the rows of all stages before the last"):
        stages_of(config)


@pytest.mark.parametrize("division", ["subject,3", "groups", "groups,two", "loso,2", "groups,-3"])
def test_own_data_in_a_division_without_folds_is_refused(division):
    with pytest.raises(ConfigError, match=r"expected groups,FOLDS or loso,SUBJECTS"):
        your_own.get_config(division)


def test_one_branch_alone_reads_its_own_channels():
    config = table2.get_config("dsads")
    by_row = {t.row: t.config for t in trials(config)}
    assert by_row["ResNet, own channels"].model.branches == (("res", "resnet", ("acc",)),)
    assert by_row["DenseNet, own channels"].data.channels == ("gyro", "mag")
    assert [b[1] for b in by_row["two ResNets"].model.branches] == ["resnet", "resnet"]


def test_placement_has_every_variant_that_exists():
    config = placement.get_config()
    names = {t.row for t in trials(config)}
    assert len(names) == 14
    for trial in trials(config):
        check_config(trial.config)
        assert trial.config.cgm.enabled == ("none" not in trial.row)
        assert trial.config.optimizer.name == trial.row.split(",")[0].lower()
        if trial.config.cgm.enabled:
            assert trial.row.endswith(f"{trial.config.cgm.placement}, {trial.config.cgm.scope}")
