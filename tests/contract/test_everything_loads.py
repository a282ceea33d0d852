"""Nothing ships that no test loads: every module is imported, every config builds its model."""

import importlib
import pkgutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import configs
import dcdp_jax
from configs import default
from dcdp_jax.config import as_plain_data, check_config, flatten
from dcdp_jax.data.datasets import DATASETS
from dcdp_jax.data.partition import partition
from dcdp_jax.data.recording import Recording
from dcdp_jax.data.views import keep_channels, view_recording
from dcdp_jax.models.multipath import BranchSpec
from dcdp_jax.train.build import build_model

MODULES = [m.name for m in pkgutil.walk_packages(dcdp_jax.__path__, "dcdp_jax.")]
CONFIGS = [path.stem for path in Path(configs.__path__[0]).glob("*.py") if path.stem not in ("__init__", "default")]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name):
    assert importlib.import_module(name).__name__ == name


def channels_of(config):
    """The channels that a config's data has after its view."""
    data = config.data
    if data.name == "table":
        from dcdp_jax.data.recording import Channel

        return tuple(Channel(*channel) for channel in data.table.channels)
    channels = DATASETS[data.name].channels
    rate = DATASETS[data.name].rate or data.synthetic.rate
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(600, len(channels))).astype(np.float32)
    recording = Recording(signals, np.zeros(600, np.int32), 1, "1", rate, channels)
    return view_recording(keep_channels(recording, data.channels), data.view).channels


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_builds_its_model(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    check_config(config)
    channels = channels_of(config)
    branches = tuple(
        BranchSpec(*branch) for branch in partition(channels, config.model.branches, config.model.partition)
    )
    assert sorted(i for branch in branches for i in branch.channels) == list(range(len(channels)))
    model = build_model(config, branches, classes=5)
    x = jnp.zeros((2, config.data.window, len(channels)))
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), x))
    assert outputs.fusion.shape == (2, 5)
    assert set(variables["params"]) == {*(branch.name for branch in branches), "projection", "fusion"}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_is_in_the_default_config(name):
    known = {field for field, _ in flatten(as_plain_data(default.get_config()))}
    found = {field for field, _ in flatten(as_plain_data(importlib.import_module(f"configs.{name}").get_config()))}
    assert found == known


def test_sizes_are_those_of_the_specification():
    config = importlib.import_module("configs.uci_har").get_config()
    branches = (BranchSpec("res", "resnet", tuple(range(6))), BranchSpec("dense", "densenet", (6, 7, 8)))
    model = build_model(config, branches, classes=6)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 128, 9)))["params"]
    size = {name: sum(x.size for x in jax.tree.leaves(params[name]["backbone"])) for name in ("res", "dense")}
    assert round(size["res"] / 1e6, 1) == 7.2
    assert round(size["dense"] / 1e6, 1) == 0.7
