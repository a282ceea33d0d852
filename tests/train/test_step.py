"""The training step: one, seven and eight devices give the same numbers; gradients prove what CGM does."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dcdp_jax import losses
from dcdp_jax.models import batch_norm, conv
from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.optim import inspect, modulation_coefficients
from dcdp_jax.train import step as step_module
from dcdp_jax.train.devices import AXIS, Devices, automatic_precision
from dcdp_jax.train.evaluation import evaluation_step
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepParts, StepSettings, train_step, train_steps
from tests.optim.chains import make_chain, make_sgd
from tests.slow import slow

pytestmark = pytest.mark.usefixtures("optimized")

BRANCHES = (BranchSpec("res", "resnet", (0, 1, 2)), BranchSpec("dense", "densenet", (3, 4)))
LABELS = {"res": "res", "dense": "dense", "fusion": None, "projection": None}
WINDOW, CLASSES, BATCH, STEPS = 16, 4, 56, 12
SEED = 3
SETTINGS = StepSettings(WINDOW, 0.7, 0.5, 0.0)


def make_model(axis_name=AXIS):
    return MultiPath(
        BRANCHES,
        CLASSES,
        width=8,
        resnet_blocks=(1, 1),
        densenet_blocks=(1, 1),
        embedding=16,
        projection_hidden=16,
        projection=8,
        fusion_hidden=16,
        axis_name=axis_name,
    )


def make_optimizer(name="adamw", rate=1e-3, labels=LABELS, alpha=0.9):
    return make_chain(name, rate, weight_decay=0.01, labels=labels, arguments={"alpha": alpha})


@pytest.fixture(scope="module")
def signals():
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(2000, 5)), axis=0).astype(np.float32)
    return Signals(values, values.mean(axis=0), 1 / values.std(axis=0))


def batches(steps=STEPS):
    rng = np.random.default_rng(1)
    for _ in range(steps):
        yield {
            "starts": rng.integers(0, 2000 - WINDOW, BATCH).astype(np.int32),
            "labels": rng.integers(0, CLASSES, BATCH).astype(np.int32),
        }


def run(count, signals, model=None, optimizer=None, steps=STEPS, strategy="pmap"):
    """Total losses and the last state after some steps on this many devices."""
    devices = Devices(count, strategy)
    model = model or make_model()
    optimizer = optimizer or make_optimizer()
    state = devices.replicate(create_state(model, optimizer, SEED, WINDOW, 5))
    step = devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=SETTINGS)
    on_device = devices.replicate(signals)
    history = []
    for batch in batches(steps):
        state, metrics = step(state, on_device, devices.shard(batch))
        history.append(jax.device_get(metrics))
    return history, jax.device_get(state)


def largest_loss_difference(a, b):
    return max(abs(x["loss"]["total"] - y["loss"]["total"]) for x, y in zip(a, b, strict=True))


def relative_difference(a, b):
    """Largest over the arrays of ||a - b|| / ||b||."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(np.linalg.norm(x - y) / max(np.linalg.norm(y), 1e-3) for x, y in pairs)


@pytest.fixture(scope="module")
def one_device(signals):
    return run(1, signals)


@pytest.mark.parametrize(("strategy", "count"), [("pmap", 7), *slow(("jit", 7), ("pmap", 8), ("jit", 1), ("jit", 8))])
def test_twelve_steps_agree_on_any_number_of_devices(strategy, count, signals, one_device):
    history, state = run(count, signals, strategy=strategy)
    expected, expected_state = one_device
    assert largest_loss_difference(history, expected) < 1e-5
    assert relative_difference(state.params, expected_state.params) < 1e-4
    assert relative_difference(state.batch_stats, expected_state.batch_stats) < 1e-4
    for found, wanted in zip(history, expected, strict=True):
        for name in ("S", "R", "M"):
            for branch in ("res", "dense"):
                np.testing.assert_allclose(found[name][branch], wanted[name][branch], rtol=1e-4)


@pytest.fixture
def forms_for_gpu(monkeypatch):
    """Everything that is chosen by platform is computed on this one as on an NVIDIA GPU."""
    traced = (conv._forward, conv._backward, batch_norm._forward, batch_norm._backward)
    chosen = []

    def choose(*arguments, default, cuda=None, **others):
        del others
        chosen.append(cuda)
        return (cuda or default)(*arguments)

    def forget():
        conv.by_kernels.cache_clear()
        for function in traced:
            function.clear_cache()

    monkeypatch.setattr(jax.lax, "platform_dependent", choose)
    forget()
    yield chosen
    forget()


def test_forms_for_gpus_are_the_same_steps(signals, one_device, forms_for_gpu):
    history, state = run(1, signals)
    expected, expected_state = one_device
    functions = {getattr(form, "func", form) for form in forms_for_gpu}
    assert {batch_norm.sums_together, inspect.as_vector_on_gpu} < functions
    assert any("for_gpu" in getattr(form, "keywords", ()) for form in forms_for_gpu)
    assert largest_loss_difference(history, expected) < 1e-5
    assert relative_difference(state.params, expected_state.params) < 1e-4
    for name in ("gradient_norm", "update_norm"):
        for entry, norm in expected[0][name].items():
            np.testing.assert_allclose(history[0][name][entry], norm, rtol=1e-5)


def test_normalising_per_device_would_be_noticed(signals, one_device):
    """Were batch normalisation not synchronous, the test above would fail."""
    history, _ = run(8, signals, model=make_model(axis_name=None))
    assert largest_loss_difference(history, one_device[0]) > 1e-3


def test_local_negatives_would_be_noticed(signals, one_device, monkeypatch):
    """Were windows contrasted with those of their own device only, the test above would fail."""

    def local(*args, axis_name, **kwargs):
        del axis_name
        return losses.total_loss(*args, axis_name=None, **kwargs)

    monkeypatch.setattr(step_module, "total_loss", local)
    history, _ = run(8, signals)
    assert largest_loss_difference(history, one_device[0]) > 1e-3


def test_dominant_branch_is_scaled_by_M_and_nothing_else_is_changed(signals):
    """With SGD and beta 0 the update is the gradient: compare it with and without CGM."""
    _, modulated = run(1, signals, optimizer=make_sgd(2.0**10, labels=LABELS), steps=1)
    history, plain = run(1, signals, optimizer=make_sgd(2.0**10), steps=1)
    initial = create_state(make_model(), make_sgd(2.0**10), SEED, WINDOW, 5).params
    S = {name: jnp.float32(value) for name, value in history[0]["S"].items()}
    M = modulation_coefficients(S, 0.9)
    dominant = max(S, key=S.get)
    assert M[dominant] < 1

    def gradient(state, name):
        return jax.tree.map(lambda new, old: np.asarray(new - old), state.params[name], initial[name])

    for name in initial:
        factor = float(M[name]) if name == dominant else 1.0
        jax.tree.map(
            lambda found, wanted, factor=factor: np.testing.assert_allclose(
                found, factor * wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max() + 1e-12
            ),
            gradient(modulated, name),
            gradient(plain, name),
        )


def test_gradient_is_that_of_the_loss_of_the_global_batch(signals):
    """Against jax.grad of the loss over the whole batch on one device, without pmap, for 8 devices."""
    model, optimizer = make_model(), make_sgd(2.0**10)
    state = create_state(model, optimizer, SEED, WINDOW, 5)
    batch = next(batches())
    whole = make_model(axis_name=None)
    x = jnp.asarray((signals.values[batch["starts"][:, None] + np.arange(WINDOW)] - signals.shift) * signals.scale)
    key = jax.random.fold_in(jax.random.key(SEED), 0)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(BATCH))

    def loss(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        outputs, _ = whole.apply(variables, x, train=True, keys=keys, mutable=["batch_stats"])
        return losses.total_loss(*outputs, jnp.asarray(batch["labels"]), align_weight=0.7, temperature=0.5)[0]

    expected = jax.jit(jax.grad(loss))(state.params)
    history, _ = run(8, signals, steps=1)
    for name, subtree in expected.items():
        np.testing.assert_allclose(history[0]["gradient_norm"][name], optax.tree.norm(subtree), rtol=1e-4)


@pytest.mark.parametrize(("strategy", "count"), [("pmap", 7), ("jit", 7), *slow(("pmap", 1), ("pmap", 8))])
def test_padding_does_not_count(strategy, count, signals):
    devices = Devices(count, strategy)
    model = make_model()
    state = devices.replicate(create_state(model, make_optimizer(), SEED, WINDOW, 5))
    step = devices.map_step(evaluation_step, donate_state=False, model=model, window=WINDOW)
    on_device = devices.replicate(signals)
    batch = next(batches())
    masks = [np.arange(BATCH) < 23, np.arange(BATCH) >= 23]
    parts = [jax.device_get(step(state, on_device, devices.shard({**batch, "mask": mask})))[0] for mask in masks]
    whole, *_ = jax.device_get(step(state, on_device, devices.shard({**batch, "mask": np.ones(BATCH, bool)})))
    assert parts[0].confusion.sum() == 23
    for *split, total in zip(*map(jax.tree.leaves, (*parts, whole)), strict=True):
        np.testing.assert_allclose(sum(split), total, rtol=1e-5, atol=1e-5)


def several_at_once(signals, at_once, count=1, strategy="pmap"):
    """As `run`, with so many steps in one program, the last of which takes what is left."""
    devices = Devices(count, strategy)
    model, optimizer = make_model(), make_optimizer()
    state = devices.replicate(create_state(model, optimizer, SEED, WINDOW, 5))
    parts = StepParts(model, optimizer, SETTINGS._replace(pack_vectors=True))
    step = devices.map_step(train_steps, donate_state=True, takes_hyperparameters=True, parts=lambda _: parts)
    on_device = devices.replicate(signals)
    single, history = list(batches()), []
    for first in range(0, STEPS, at_once):
        chosen = single[first : first + at_once]
        rows = {name: np.stack([batch[name] for batch in chosen], axis=1) for name in single[0]}
        padded = {name: np.pad(x, ((0, 0), (0, at_once - len(chosen))), mode="edge") for name, x in rows.items()}
        padded["count"] = np.full(BATCH, len(chosen), np.int32)
        state, metrics = step(state, on_device, devices.shard(padded), {})
        fetched = jax.device_get(metrics)
        history += [jax.tree.map(lambda x, i=i: x[i], fetched) for i in range(len(chosen))]
    return history, jax.device_get(state)


@pytest.mark.parametrize(("at_once", "count", "strategy"), [(5, 7, "jit"), *slow((5, 1, "pmap"), (1, 1, "pmap"))])
def test_several_steps_in_one_program_are_those_steps(at_once, count, strategy, signals, one_device):
    history, state = several_at_once(signals, at_once, count, strategy)
    expected, expected_state = one_device
    assert state.step == STEPS
    assert len(history) == STEPS
    assert largest_loss_difference(history, expected) < 1e-5
    assert relative_difference(state.params, expected_state.params) < 1e-4
    for found, wanted in zip(history, expected, strict=True):
        for branch in ("res", "dense"):
            np.testing.assert_allclose(found["S"][branch], wanted["S"][branch], rtol=1e-4)


def test_bfloat16_computes_in_it_and_keeps_everything_else_in_float32(signals, one_device):
    devices = Devices(1, precision="bfloat16")
    model, optimizer = make_model(), make_optimizer()
    state = devices.replicate(create_state(model, optimizer, SEED, WINDOW, 5))
    step = devices.map_step(train_step, donate_state=False, model=model, optimizer=optimizer, settings=SETTINGS)
    arguments = state, devices.replicate(signals), devices.shard(next(iter(batches(1))))
    text = step.lower(*arguments).as_text()
    assert [line for line in text.splitlines() if "convolution" in line and "bf16" in line]
    assert not [line for line in text.splitlines() if "stablehlo.convolution" in line and "xf32>" in line]
    after, metrics = step(*arguments)
    float_leaves = [x for x in jax.tree.leaves((after, metrics)) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in float_leaves} == {jnp.dtype("float32")}
    wanted = one_device[0][0]["loss"]["total"]
    difference = abs(float(metrics["loss"]["total"]) - wanted) / wanted
    assert 1e-6 < difference < 2e-2  # other numbers, and near


@pytest.mark.parametrize(("precision", "products"), [("float32", "HIGHEST"), ("tf32", "HIGH"), ("bfloat16", "DEFAULT")])
def test_products_are_what_the_precision_says(precision, products, signals):
    devices = Devices(1, precision=precision)
    step = devices.map_step(evaluation_step, donate_state=False, model=make_model(), window=WINDOW)
    state = create_state(make_model(), make_optimizer(), SEED, WINDOW, 5)
    batch = next(iter(batches(1))) | {"mask": np.ones(BATCH, bool)}
    text = step.lower(state, signals, devices.shard(batch)).as_text()
    found = {
        line.split("precision")[1][:60] for line in text.splitlines() if "dot_general" in line and "precision" in line
    }
    if products == "DEFAULT":
        assert not any("HIGH" in one for one in found)
    else:
        assert found
        assert all(f"[{products}, {products}]" in one for one in found)


@pytest.mark.parametrize(
    ("platform", "capability", "precision"),
    [
        ("cpu", None, "float32"),
        ("tpu", None, "float32"),
        ("gpu", "7.0", "float32"),
        ("gpu", "8.0", "tf32"),
        ("gpu", "9.0", "tf32"),
        ("gpu", "12.0", "tf32"),
        ("gpu", "gfx90a", "float32"),
    ],
)
def test_the_automatic_precision_is_tf32_where_a_card_has_it(platform, capability, precision):
    attributes = {"platform": platform} | ({"compute_capability": capability} if capability else {})
    assert automatic_precision(SimpleNamespace(**attributes)) == precision


def test_the_automatic_precision_of_a_cpu():
    assert Devices(1, precision="auto").precision == "float32"
