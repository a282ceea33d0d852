"""Every method of modulation by the field `modulation.name`: a step with it, on one device and on several."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import demo
from dcdp_jax.losses import total_loss
from dcdp_jax.models.multipath import BranchSpec, Outputs
from dcdp_jax.optim import METHODS, combine_by_mmpareto, scale_by_arl, scale_by_cggm
from dcdp_jax.optim.methods import NAMES
from dcdp_jax.train.build import build_chain, build_settings
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, train_step

WINDOW, CLASSES, BATCH, SEED, STEPS_PER_EPOCH = 16, 3, 8, 2, 2
BRANCHES = (BranchSpec("res", "resnet", (0, 1)), BranchSpec("dense", "densenet", (2,)))
FIELDS = {
    "augment.enabled": False,
    "optimizer.name": "sgd",
    "optimizer.b1": 0.0,
    "optimizer.schedule": "constant",
    "optimizer.learning_rate": 1.0,
    "optimizer.warmup_fraction": 0.0,
}


class Branch(nn.Module):
    """An encoder and a classifier, each a matrix."""

    @nn.compact
    def __call__(self, x):
        h = jnp.tanh(nn.Dense(4, name="encoder")(x.reshape(len(x), -1)))
        return h, nn.Dense(CLASSES, name="classifier")(h)


class Small(nn.Module):
    """Outputs with every part that a loss reads, from a network that compiles at once."""

    @nn.compact
    def __call__(self, x, train=False, keys=None, modulation=None):
        del train, keys, modulation
        found = {b.name: Branch(name=b.name)(x[..., jnp.array(b.channels)]) for b in BRANCHES}
        h = {name: h for name, (h, _) in found.items()}
        logits = {name: z for name, (_, z) in found.items()}
        return Outputs(nn.Dense(CLASSES, name="fusion")(jnp.concatenate(list(h.values()), axis=-1)), logits, h, [h])


MODEL = Small()


class Data:
    """What `build_settings` reads of a data set."""

    window = WINDOW
    channels = ()


def config_of(name):
    config = demo.get_config()
    config.update_from_flattened_dict(FIELDS | {"modulation.name": name})
    return config


def run(name, count=1, steps=1):
    """Gradient descent with rate 1: the parameters before and after, and the metrics of every step."""
    config, devices = config_of(name), Devices(count, "pmap")
    optimizer = build_chain(config, BRANCHES, STEPS_PER_EPOCH)
    settings = build_settings(config, Data, STEPS_PER_EPOCH)
    initial = create_state(MODEL, optimizer, SEED, WINDOW, 3)
    step = devices.map_step(train_step, donate_state=True, model=MODEL, optimizer=optimizer, settings=settings)
    signals, batch = make_data()
    state, metrics = devices.replicate(initial), []
    for _ in range(steps):
        state, found = step(state, devices.replicate(signals), devices.shard(batch))
        metrics.append(jax.device_get(found))
    return jax.device_get(initial), jax.device_get(state), metrics


def make_data():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3)).astype(np.float32)
    signals = Signals(values, np.zeros(3, np.float32), np.ones(3, np.float32))
    starts = rng.integers(0, 200 - WINDOW, BATCH).astype(np.int32)
    return signals, {"starts": starts, "labels": rng.integers(0, CLASSES, BATCH).astype(np.int32)}


def outputs_of(params):
    """The outputs of a step's forward pass."""
    signals, batch = make_data()
    x = jnp.asarray(signals.values[batch["starts"][:, None] + np.arange(WINDOW)])
    return MODEL.apply({"params": params}, x), jnp.asarray(batch["labels"])


@pytest.fixture(scope="module")
def plain():
    return run("none")


@pytest.mark.parametrize("name", NAMES)
def test_a_step_with_every_method(name, plain):
    """Two steps run; M is reported by whatever scales; parameters of no branch get the plain gradient at first."""
    _, state, metrics = run(name, steps=2)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    assert all(found["finite"] for found in metrics)
    assert ("M" in metrics[0]) == (name not in ("none", "mmpareto"))
    np.testing.assert_allclose(metrics[0]["loss"]["total"], plain[2][0]["loss"]["total"], rtol=1e-6)
    for branch, norm in plain[2][0]["gradient_norm"].items():
        np.testing.assert_allclose(metrics[0]["gradient_norm"][branch], norm, rtol=1e-4)
    if name in METHODS:
        factors = {b: metrics[0]["update_norm"][b] / metrics[0]["gradient_norm"][b] for b in ("res", "dense", "fusion")}
        assert factors["fusion"] == pytest.approx(1, rel=1e-4)
        if name not in ("mmpareto", "inforeg", "ogm_ge"):
            for branch, M in metrics[0]["M"].items():
                assert factors[branch] == pytest.approx(M, rel=1e-4)


@pytest.mark.parametrize("name", ["mmpareto", "arl", "cggm", "random_mean_one"])
def test_statistics_are_those_of_the_global_batch(name):
    """Tolerance 1e-4: what rounding differs by after one step without momentum."""
    _, one, expected = run(name, 1)
    _, four, found = run(name, 4)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(four.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    for branch in expected[0].get("M", {}):
        np.testing.assert_allclose(found[0]["M"][branch], expected[0]["M"][branch], rtol=1e-4)


def test_mmpareto_takes_the_gradients_of_its_two_losses():
    """The two gradients by two separate differentiations of losses written out here."""
    initial, state, _ = run("mmpareto")

    def terms_of(params):
        outputs, labels = outputs_of(params)
        branches = {
            name: optax.softmax_cross_entropy_with_integer_labels(z, labels).mean()
            for name, z in outputs.branches.items()
        }
        whole, _ = total_loss(*outputs[:1], *outputs[1:], labels, align_weight=0.7, temperature=0.5)
        return whole, sum(branches.values())

    unimodal = jax.jit(jax.grad(lambda p: terms_of(p)[1]))(initial.params)
    multimodal = jax.jit(jax.grad(lambda p: terms_of(p)[0] - terms_of(p)[1]))(initial.params)
    labels = {name: name if name in ("res", "dense") else None for name in initial.params}
    tx = combine_by_mmpareto(labels)
    updates, _ = jax.jit(tx.update)(multimodal, tx.init(initial.params), unimodal=unimodal)
    expected = jax.tree.map(lambda p, u: p - u, initial.params, updates)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["arl", "cggm"])
def test_coefficients_come_from_the_logits_of_the_branches(name):
    initial, _, metrics = run(name)
    outputs, labels = outputs_of(initial.params)
    logits = {branch: np.asarray(z, np.float64) for branch, z in outputs.branches.items()}
    params = {branch: jnp.ones(1) for branch in logits}
    if name == "cggm":
        tx = scale_by_cggm({branch: branch for branch in logits})
        given = {"accuracy": {b: np.mean(z.argmax(axis=1) == np.asarray(labels)) for b, z in logits.items()}}
    else:
        tx = scale_by_arl({branch: branch for branch in logits})
        p = {b: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for b, z in logits.items()}
        given = {
            "entropy": {b: -(x * np.log(x)).sum(axis=1).mean() for b, x in p.items()},
            "magnitude": {b: np.abs(z).sum(axis=1).mean() for b, z in logits.items()},
        }
    _, state = tx.update(params, tx.init(params), **given)
    for branch, M in state.coefficients.items():
        np.testing.assert_allclose(metrics[0]["M"][branch], M, rtol=1e-4)


def test_runs_with_other_seeds_draw_other_numbers():
    config = config_of("random")
    optimizer = build_chain(config, BRANCHES, STEPS_PER_EPOCH)
    keys = [optax.tree.get(create_state(MODEL, optimizer, seed, WINDOW, 3).opt_state, "rng_key") for seed in (0, 1, 1)]
    assert (keys[0] != keys[1]).any()
    assert (keys[1] == keys[2]).all()
