"""Scope `classification`: M * grad(L_cls) + grad(lambda L_aux) in one backward pass, against two separate ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dcdp_jax import losses
from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.optim import modulation_coefficients
from dcdp_jax.train import step as step_module
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepSettings, train_step
from tests.optim.chains import make_sgd

M = {"res": 0.3, "dense": 0.8}
WINDOW, CHANNELS, CLASSES = 16, 5, 4


def make_model(axis_name=None):
    return MultiPath(
        (BranchSpec("res", "resnet", (0, 1, 2)), BranchSpec("dense", "densenet", (3, 4))),
        classes=CLASSES,
        width=8,
        resnet_blocks=(1, 1),
        densenet_blocks=(1, 1),
        embedding=16,
        projection_hidden=16,
        projection=8,
        fusion_hidden=16,
        axis_name=axis_name,
    )


@functools.cache
def gradients(dtype):
    """The step's gradients, and those of two backward passes, from the same float32 parameters and windows.

    Without dropout, whose masks in double precision are others.
    """
    model = make_model()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, WINDOW, CHANNELS)).astype(np.float32)
    initial = jax.device_get(jax.jit(model.init)(jax.random.key(0), x))
    with jax.enable_x64(dtype == "float64"):
        x, variables = jnp.asarray(x, dtype), jax.tree.map(lambda v: jnp.asarray(v, dtype), initial)
        labels = jnp.asarray(rng.integers(0, CLASSES, 12), jnp.int32)
        coefficients = {name: jnp.asarray(np.float32(m), dtype) for name, m in M.items()}

        def outputs_of(params, modulation=None):
            variables_now = {**variables, "params": params}
            return model.apply(variables_now, x, train=True, modulation=modulation, mutable=["batch_stats"])[0]

        def total(params):
            outputs = outputs_of(params, lambda logits: coefficients)
            return losses.total_loss(*outputs, labels, align_weight=0.7, temperature=0.5)[0]

        def classification(params):
            outputs = outputs_of(params)
            return sum(losses.cross_entropy(z, labels).mean() for z in (outputs.fusion, *outputs.branches.values()))

        def auxiliary(params):
            outputs = outputs_of(params)
            contrast = losses.multi_stage_contrastive_loss(outputs.stages, 0.5)
            return 0.7 * (contrast + losses.mean_alignment_loss(outputs.embeddings))

        one, of_classification, of_auxiliary = jax.jit(
            lambda p: (jax.grad(total)(p), jax.grad(classification)(p), jax.grad(auxiliary)(p))
        )(variables["params"])
        two = {}
        for name in one:
            factor = coefficients.get(name, jnp.ones((), dtype))
            scaled = jax.tree.map(lambda g, factor=factor: factor * g, of_classification[name])
            two[name] = jax.tree.map(jnp.add, scaled, of_auxiliary[name])
        return jax.tree.map(lambda g: np.asarray(g, np.float64), (one, two))


def relative_errors(found, wanted):
    """||found - wanted|| / ||wanted|| of every array."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return np.array([np.linalg.norm(f - w) / np.linalg.norm(w) for f, w in pairs])


def flat(tree):
    return np.concatenate([g.ravel() for g in jax.tree.leaves(tree)])


def test_every_array_equals_two_backward_passes_in_double_precision():
    one, two = gradients("float64")
    for name in one:
        assert relative_errors(one[name], two[name]).max() <= 1e-12


def test_the_gradient_of_a_branch_equals_two_backward_passes_in_single_precision():
    one, two = gradients("float32")
    for name in one:
        assert np.linalg.norm(flat(one[name]) - flat(two[name])) <= 1e-6 * np.linalg.norm(flat(two[name]))


@pytest.mark.parametrize("name", ["res", "dense"])
def test_array_by_array_single_precision_differs_by_less_than_it_rounds(name):
    """Two backward passes in float32 are themselves 3e-6 from float64, in some arrays of batch normalisation.

    One pass is about as far from float64, and nearer to the two than they are to float64: 1e-6 in most arrays,
    1.4e-6 in the worst.
    """
    (one, two), (_, exact) = gradients("float32"), gradients("float64")
    apart = relative_errors(one[name], two[name])
    rounding = relative_errors(two[name], exact[name])
    assert apart.max() < rounding.max()
    assert np.median(apart) <= 1e-6
    assert relative_errors(one[name], exact[name]).max() <= 1.5 * rounding.max()


def test_without_the_coefficients_it_would_be_noticed():
    """The two gradients that must agree are far from the unmodulated one."""
    one, _ = gradients("float64")
    coefficients = dict(M)
    try:
        M.update(res=1.0, dense=1.0)
        plain, _ = gradients.__wrapped__("float64")
    finally:
        M.update(coefficients)
    for name in M:
        assert relative_errors(one[name], plain[name]).min() > 1e-2


# On several devices.

BATCH, ALPHA, EPS = 56, 3.0, 1e-8


@pytest.fixture(scope="module")
def signals():
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(2000, CHANNELS)), axis=0).astype(np.float32)
    return Signals(values, values.mean(axis=0), 1 / values.std(axis=0))


def run(count, signals, steps):
    """Metrics of some steps of plain SGD, and the parameters after them."""
    devices, model = Devices(count), make_model(AXIS)
    optimizer = make_sgd(0.1)
    settings = StepSettings(
        window=WINDOW,
        align_weight=0.7,
        temperature=0.5,
        label_smoothing=0.0,
        classification_modulation=(optax.constant_schedule(ALPHA), EPS),
    )
    state = devices.replicate(create_state(model, optimizer, 3, WINDOW, CHANNELS))
    step = devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=settings)
    on_device, rng, history = devices.replicate(signals), np.random.default_rng(2), []
    for _ in range(steps):
        batch = {
            "starts": rng.integers(0, 2000 - WINDOW, BATCH).astype(np.int32),
            "labels": rng.integers(0, CLASSES, BATCH).astype(np.int32),
        }
        state, metrics = step(state, on_device, devices.shard(batch))
        history.append(jax.device_get(metrics))
    return history, jax.device_get(state.params)


def difference(found, wanted):
    """Largest over the arrays of ||found - wanted|| / ||wanted||, of those that have moved away from 0."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return max(np.linalg.norm(f - w) / max(np.linalg.norm(w), 1e-3) for f, w in pairs)


@pytest.fixture(scope="module")
def one_device(signals):
    return run(1, signals, 6)


@pytest.mark.parametrize("count", [7, pytest.param(8, marks=pytest.mark.slow)])
def test_confidences_coefficients_and_parameters_agree_on_any_number_of_devices(count, signals, one_device):
    history, params = run(count, signals, 6)
    expected, expected_params = one_device
    for found, wanted in zip(history, expected, strict=True):
        for branch in M:
            assert 0 < wanted["S"][branch] < BATCH
            for quantity, tolerance in (("S", 1e-5), ("R", 1e-5), ("M", 1e-4)):
                np.testing.assert_allclose(found[quantity][branch], wanted[quantity][branch], rtol=tolerance)
        S = {branch: jnp.float32(value) for branch, value in wanted["S"].items()}
        for branch, coefficient in modulation_coefficients(S, ALPHA, EPS).items():
            np.testing.assert_allclose(wanted["M"][branch], coefficient, rtol=1e-5)
    assert min(m for metrics in expected for m in metrics["M"].values()) < 0.9
    assert difference(params, expected_params) < 1e-5


def test_the_confidence_of_part_of_the_batch_would_be_noticed(signals, one_device, monkeypatch):
    """Were S the sum of one device's windows, the test above would fail."""
    whole = step_module.true_class_confidence

    def of_first_device(branches, labels, axis_name):
        counts = jax.lax.axis_index(axis_name) == 0
        return jax.lax.psum({name: jnp.where(counts, S, 0) for name, S in whole(branches, labels).items()}, axis_name)

    monkeypatch.setattr(step_module, "true_class_confidence", of_first_device)
    _, params = run(8, signals, 6)
    assert difference(params, one_device[1]) > 1e-4
