"""Tests folds over the subjects that another protocol does not test."""

import pytest

from configs.studies.default import smallest
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.errors import ConfigError


def data(**fields):
    config = smallest().data
    config.update({"protocol": "groups", "folds": 3, "within": "subject", **fields})
    return config


def subjects_of(dataset):
    return {part: set(split.subjects.tolist()) for part, split in dataset.splits.items()}


def test_folds_cover_everyone_but_the_test_subjects_once():
    everyone = subjects_of(build_dataset(data(within="", protocol="subject", folds=10)))
    tested = everyone.pop("test")
    rest = set.union(*everyone.values())
    folds = [subjects_of(build_dataset(data(fold=fold))) for fold in range(3)]
    for parts in folds:
        assert set.union(*parts.values()) == rest
        assert sum(map(len, parts.values())) == len(rest)
    assert sorted(subject for parts in folds for subject in parts["test"]) == sorted(rest)
    assert not rest & tested


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"protocol": "subject"}, r"data\.within='subject' is for the protocols groups and loso; data\.protocol is"),
        ({"within": "loso"}, r"data\.within='loso' has folds of its own"),
        ({"within": "none such"}, r"data\.within='none such' is not one of synthetic's .* test set: subject"),
        ({"folds": 6}, r"data\.folds=6 is not between 3 and the number of subjects: the data here has 5"),
    ],
)
def test_what_cannot_be_divided_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        build_dataset(data(**fields))
