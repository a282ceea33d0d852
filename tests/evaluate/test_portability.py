"""The portability check: green for every model, and red as soon as an operation is bound to one platform."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import demo
from dcdp_jax import cli
from dcdp_jax.config import MAIN_MODEL
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.evaluate import portability
from dcdp_jax.evaluate.portability import (
    PLATFORMS,
    Findings,
    check_portability,
    compare,
    lower_everywhere,
    portability_page,
    run_steps,
)
from dcdp_jax.models import batch_norm
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.train.devices import Devices
from tests.slow import slow


def small_config(model):
    config = demo.get_config()
    config.update_from_flattened_dict(
        {
            "data.synthetic.subjects": 5,
            "data.synthetic.minutes": 1.0,
            "data.window": 20,
            "model.name": model,
            "model.width": 4,
            "model.resnet_blocks": (1,),
            "model.densenet_blocks": (1,),
            "model.embedding": 8,
            "model.projection_hidden": 8,
            "model.projection": 8,
            "model.fusion_hidden": 8,
            "cgm.enabled": model == MAIN_MODEL,
            "augment.enabled": True,
        }
    )
    return config


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(small_config(MAIN_MODEL).data)


@pytest.mark.parametrize("model", [MAIN_MODEL, "lstm", *slow(*(name for name in BASELINES if name != "lstm"))])
def test_every_step_lowers_for_every_platform(model, dataset):
    found = lower_everywhere(small_config(model), dataset)
    steps = ("train", "evaluation")
    assert found == {(model, step, platform): None for step in steps for platform in PLATFORMS}


class Small(nn.Module):
    """A classifier that compiles at once."""

    classes: int
    width: int
    axis_name: str | None

    @nn.compact
    def __call__(self, x, train=False, keys=None):
        del train, keys
        return nn.Dense(self.classes)(x.mean(axis=1))


class OnlyOnCPU(nn.Module):
    """The same with an operation that no other platform has."""

    classes: int
    width: int
    axis_name: str | None

    @nn.compact
    def __call__(self, x, train=False, keys=None):
        del train, keys
        return nn.Dense(self.classes)(jax.lax.platform_dependent(x.mean(axis=1), cpu=jnp.sin))


@pytest.mark.slow
def test_an_operation_of_one_platform_turns_it_red(tmp_path, monkeypatch, capsys):
    for name in set(BASELINES) - {"cnn"}:
        monkeypatch.delitem(portability.BASELINES, name)
    monkeypatch.setattr(portability, "MAIN_MODEL", "cnn")
    monkeypatch.setitem(portability.BASELINES, "cnn", Small)
    monkeypatch.setattr(portability, "DEVICE_COUNTS", (1,))
    config = small_config("cnn")
    assert cli.portability(config, tmp_path) == 0
    page = (tmp_path / "portability.md").read_text()
    assert "All green" in page
    assert "| cnn | train | lowers | lowers | lowers | lowers |" in page

    monkeypatch.setitem(portability.BASELINES, "cnn", OnlyOnCPU)
    assert cli.portability(config, tmp_path) == 1
    page = (tmp_path / "portability.md").read_text()
    assert page in capsys.readouterr().out
    assert "| cnn | train | lowers | FAILS | FAILS | FAILS |" in page
    assert "- cnn, evaluation, tpu: NotImplementedError" in page
    assert "| cnn | pmap | 1 | 0.0e+00 |" in page  # on this CPU it runs
    assert "RED" in page


def test_a_model_that_cannot_be_built_is_left_out(monkeypatch):
    for name in set(BASELINES) - {"deepconvlstm"}:
        monkeypatch.delitem(portability.BASELINES, name)
    monkeypatch.setattr(portability, "MAIN_MODEL", "deepconvlstm")
    config = small_config("deepconvlstm")
    config.data.window = 10
    findings = check_portability(config)
    assert "data.window=10 is shorter" in findings.left_out["deepconvlstm"]
    assert "- deepconvlstm: data.window=10" in portability_page(findings)


def clear_batch_norm():
    """Lets the next trace of batch normalisation find functions that have been replaced."""
    batch_norm._forward.clear_cache()
    batch_norm._backward.clear_cache()


def test_convolutions_take_the_form_of_the_platform_lowered_for(dataset, monkeypatch):
    """Matrix products of the unfolded gradient, which stand between barriers, are for CPU and NVIDIA GPUs."""
    # The sums of a normalisation have barriers on NVIDIA GPUs.
    monkeypatch.setattr(batch_norm, "sums_together", lambda a, b, parts: batch_norm.sums_apart(a, b))
    clear_batch_norm()
    config = small_config("danhar")  # has convolutions of stride 1
    devices = Devices(1, "jit")
    steps, state = portability.build_steps(config, dataset, devices)
    batch = devices.shard(portability.batches(dataset)[0])
    signals = devices.replicate(portability.signals_of(config, dataset))
    traced = steps["train"].trace(devices.replicate(state), signals, batch)
    barriers = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("optimization_barrier")
        for platform in PLATFORMS
    }
    clear_batch_norm()
    # Batch normalisation has barriers of its own on every platform, the norms of gradients and updates on NVIDIA GPUs.
    assert barriers["cpu"] == barriers["cuda"] - 2 > barriers["rocm"] == barriers["tpu"]


def test_the_steps_get_the_windows_on_which_confidence_is_measured(dataset):
    config = small_config(MAIN_MODEL)
    assert portability.signals_of(config, dataset).heldout is None
    config.modulation.confidence = "heldout"
    held = portability.signals_of(config, dataset).heldout
    np.testing.assert_array_equal(held.starts, dataset.splits["validation"].starts)
    np.testing.assert_array_equal(held.labels, dataset.splits["validation"].labels)


@pytest.mark.slow
def test_what_runs_is_compared_with_one_cpu(dataset):
    config = small_config(MAIN_MODEL)
    reference = run_steps(config, dataset, Devices(1, "jit", "cpu"), None)
    found = compare(config, dataset, "jit", 7, reference)
    assert found.good
    assert set(found.differences) == {"train", "evaluation", "prediction"}
    assert max(found.differences.values()) < 1e-4
    outcome, trained = reference
    wrong = compare(config, dataset, "jit", 7, ({**outcome, "train": outcome["train"] + 0.1}, trained))
    assert not wrong.good
    page = portability_page(Findings({}, [found, wrong], {}))
    assert "| dcdp_har | jit | 7 |" in page
    assert "- dcdp_har, jit, 7 devices: difference too large" in page
