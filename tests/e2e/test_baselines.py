"""Tests every baseline and every control of Table 2 by the command line of a user, in this process for speed."""

import json

import jax
import jax.numpy as jnp
import pytest

from dcdp_jax import cli
from dcdp_jax.calibration import calibration
from dcdp_jax.config import check_config
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.datasets import synthetic
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.classical import CLASSICAL
from dcdp_jax.runs.reading import read_predictions
from dcdp_jax.train.build import build_branches, build_model
from tests.e2e.running import command, parsed
from tests.e2e.test_train import RESULT_KEYS
from tests.slow import slow

TINY = (
    "--config.cgm.enabled=False",
    "--config.model.width=2",
    "--config.data.window=20",
    "--config.data.step=20",
    "--config.data.synthetic.subjects=5",
    "--config.data.synthetic.minutes=1.0",
    "--config.train.epochs=1",
    "--config.train.batch_size=32",
    "--config.parallel.devices=1",
)
# A network and a classical model; `make test-slow` trains the rest.
QUICK = ("cnn", "random_forest")
LATER = [name for name in (*BASELINES, *CLASSICAL) if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *slow(*LATER)])
def test_a_baseline_trains_to_a_result(name, tmp_path):
    workdir = tmp_path / "run"
    status, _, errors = command(f"--config.model.name={name}", *TINY, f"--workdir={workdir}")
    assert status == 0, errors
    result = json.loads((workdir / "result.json").read_text())
    assert result.keys() >= RESULT_KEYS
    assert result["branches"] == {}
    assert result["parameters"] > 0
    assert result["best_epoch"] == 1
    assert set(result["test"]) == set(result["validation"])
    assert sum(map(sum, result["confusion"])) == result["windows"]["test"] > 0
    assert ("leaves no checkpoint" in (workdir / "report.html").read_text()) == (name in CLASSICAL)
    predictions = read_predictions(workdir, result)
    assert predictions.right.mean() == pytest.approx(result["test"]["accuracy"])
    assert calibration(predictions.right, predictions.confidence).error() == pytest.approx(
        result["test"]["ece"], abs=1e-6
    )


def test_a_forest_is_repeated_but_not_evaluated_again(tmp_path):
    arguments = ("--config.model.name=random_forest", *TINY)
    results = []
    for number in range(2):
        assert command(*arguments, f"--workdir={tmp_path / str(number)}")[0] == 0
        results.append(json.loads((tmp_path / str(number) / "result.json").read_text()))
    assert [results[0][part] for part in ("test", "validation", "confusion", "parameters")] == [
        results[1][part] for part in ("test", "validation", "confusion", "parameters")
    ]
    assert results[0]["test"]["accuracy"] > 0.3
    status, _, errors = command(*arguments, f"--workdir={tmp_path / '0'}", "--mode=evaluate")
    assert status == 2
    assert "leaves no checkpoint" in errors


ONE = "--config.cgm.enabled=False"
ACC, GYRO = (
    tuple(i for i, channel in enumerate(synthetic.CHANNELS) if channel.group == group) for group in ("acc", "gyro")
)
# Flags; branch, backbone and channels of each branch; whether the data keep all channels.
CONTROLS = {
    "ResNet on its own channels": (
        ("--config.model.branches=(('res','resnet',('acc',)),)", "--config.data.channels=('acc',)", ONE),
        [("res", "resnet", tuple(range(len(ACC))))],
    ),
    "ResNet on all channels": (
        ("--config.model.partition=single", ONE),
        [("res", "resnet", tuple(range(len(synthetic.CHANNELS))))],
    ),
    "DenseNet on its own channels": (
        ("--config.model.branches=(('dense','densenet',('gyro',)),)", "--config.data.channels=('gyro',)", ONE),
        [("dense", "densenet", tuple(range(len(GYRO))))],
    ),
    "DenseNet on all channels": (
        ("--config.model.branches=(('dense','densenet',('acc','gyro')),)", ONE),
        [("dense", "densenet", tuple(range(len(synthetic.CHANNELS))))],
    ),
    "two ResNets": (
        ("--config.model.branches=(('res','resnet',('acc',)),('dense','resnet',('gyro',)))",),
        [("res", "resnet", ACC), ("dense", "resnet", GYRO)],
    ),
    "swapped partition": (
        ("--config.model.partition=swap",),
        [("res", "resnet", GYRO), ("dense", "densenet", ACC)],
    ),
    "matched width": (
        ("--config.model.width=32", "--config.model.densenet_width=64"),
        [("res", "resnet", ACC), ("dense", "densenet", GYRO)],
    ),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_of_table_2_is_a_few_flags(name):
    arguments, wanted = CONTROLS[name]
    with parsed(*arguments):
        config = cli.CONFIG.value
    check_config(config)
    config.data.synthetic.subjects, config.data.synthetic.minutes = 5, 1.0
    dataset = build_dataset(config.data)
    branches = build_branches(config, dataset)
    assert [tuple(branch) for branch in branches] == wanted
    model = build_model(config, branches, len(dataset.class_names))
    x = jnp.zeros((1, dataset.window, len(dataset.channels)))
    params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    projection = {"projection"} if len(wanted) > 1 else set()
    assert set(params) == {*(branch for branch, _, _ in wanted), "fusion"} | projection


def test_matched_width_narrows_the_gap_in_size():
    def sizes(*arguments):
        blocks = ("--config.model.resnet_blocks=(3,4,6,3)", "--config.model.densenet_blocks=(4,4,6,4)")
        with parsed(*blocks, *arguments):
            config = cli.CONFIG.value
        branches = build_branches(config, build_dataset(config.data))
        x = jnp.zeros((1, config.data.window, len(synthetic.CHANNELS)))
        params = jax.eval_shape(build_model(config, branches, 5).init, jax.random.key(0), x)["params"]
        return [sum(p.size for p in jax.tree.leaves(params[name]["backbone"])) for name in ("res", "dense")]

    res, dense = sizes("--config.model.width=64")
    assert res / dense > 9
    narrow, same = sizes("--config.model.width=32", "--config.model.densenet_width=64")
    assert same == dense
    assert 2 < narrow / same < 3
