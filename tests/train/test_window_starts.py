"""Training windows that begin elsewhere in every epoch: within samples of their label, a function of (seed, epoch)."""

import json

import numpy as np
import pytest

from configs.studies.default import smallest
from dcdp_jax.config import check_config
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.errors import ConfigError
from dcdp_jax.train.input_pipeline import batches_of, joint_batches, windows_of_epoch
from dcdp_jax.train.trainer import train


def config_of(**fields):
    config = smallest()
    config.update_from_flattened_dict(
        {
            **{"data.window": 16, "data.step": 8, "data.synthetic.minutes": 1.0, "data.synthetic.subjects": 5},
            **{"data.train_starts": "random", "train.epochs": 1, "train.batch_size": 64, "parallel.devices": 1},
            **fields,
        }
    )
    check_config(config)
    return config


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(config_of().data)


def drawn(dataset, seed=0, epoch=1):
    return windows_of_epoch(dataset.splits["train"], config_of(seed=seed), epoch)


def test_a_window_stays_in_its_part_and_within_samples_of_its_label(dataset):
    """Every place where a training window can lie is a window of the same data with a step of one sample."""
    fine = build_dataset(config_of(**{"data.step": 1, "data.train_starts": "fixed"}).data).splits["train"]
    fixed = dataset.splits["train"]

    def described(split):
        return list(zip(split.labels.tolist(), split.subjects.tolist(), strict=True))

    allowed = dict(zip(fine.starts.tolist(), described(fine), strict=True))
    epochs = np.stack([drawn(dataset, epoch=epoch).starts for epoch in range(1, 101)])
    assert epochs.shape == (100, len(fixed.starts))
    for starts in epochs:
        assert [allowed[start] for start in starts.tolist()] == described(fixed)
    assert np.abs(epochs - fixed.starts).max() == 4  # half a step
    moves = (epochs - fixed.starts)[:, (np.diff(fixed.bounds) == 8).ravel()]
    np.testing.assert_allclose(np.bincount(4 + moves.ravel()) / moves.size, 1 / 9, atol=0.01)


def test_draws_are_a_function_of_seed_and_epoch(dataset):
    np.testing.assert_array_equal(drawn(dataset, 1, 2).starts, drawn(dataset, 1, 2).starts)
    for other in (drawn(dataset, 1, 3), drawn(dataset, 2, 2)):
        assert (other.starts != drawn(dataset, 1, 2).starts).mean() > 0.5


def test_other_parts_and_the_order_of_windows_are_those_of_fixed_starts(dataset):
    fixed = build_dataset(config_of(**{"data.train_starts": "fixed"}).data)
    assert fixed.splits["train"].bounds is None
    assert windows_of_epoch(fixed.splits["train"], config_of(), 1) is fixed.splits["train"]
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(fixed.splits[part].starts, dataset.splits[part].starts)
        assert part == "train" or dataset.splits[part].bounds is None


def test_each_of_several_seeds_has_starts_of_its_own(dataset):
    splits = {place: drawn(dataset, seed=place) for place in (0, 1)}
    rows = {place: np.arange(12).reshape(3, 4) for place in splits}
    found = joint_batches(splits, rows, 3, 2, divide_seeds=False)["starts"]
    for place, split in splits.items():
        np.testing.assert_array_equal(found[:, place], batches_of(split, rows[place], 3)["starts"])
        np.testing.assert_array_equal(found[:, place], split.starts[:12].reshape(3, 4).T)


def test_training_takes_the_drawn_windows(tmp_path, dataset):
    losses = {}
    for starts in ("random", "fixed"):
        config = config_of(**{"data.train_starts": starts, "model.name": "cnn", "cgm.enabled": False})
        train(config, tmp_path / starts)
        records = [json.loads(line) for line in (tmp_path / starts / "metrics.jsonl").read_text().splitlines()]
        losses[starts] = records[0]["loss"]["total"]
    assert losses["random"] != losses["fixed"]


@pytest.mark.parametrize("rule", ["majority", "last", "drop_mixed"])
def test_label_rules_of_several_labels_are_refused(rule):
    with pytest.raises(ConfigError, match=rf"data\.label_rule='{rule}' may have several; set --config\.data"):
        config_of(**{"data.label_rule": rule})


def test_a_protocol_with_overlapping_parts_is_refused():
    with pytest.raises(ConfigError, match=r"onto tested samples with data\.protocol=random"):
        build_dataset(config_of(**{"data.protocol": "random"}).data)
