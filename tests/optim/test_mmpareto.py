"""MMPareto against its published computation in NumPy, float64, with a numerical search for the point of least norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from dcdp_jax.optim import combine_by_mmpareto, min_norm_weight

SHAPES = {"res": {"backbone": (3, 4), "classifier": (4,)}, "dense": {"backbone": (5,), "classifier": (2,)}}
LABELS = {
    "res": {"backbone": "res", "classifier": "res"},
    "dense": {"backbone": "dense", "classifier": None},
    "fusion": None,
}


def random_gradients(rng, towards=None, pull=0.0):
    """Random arrays, pulled towards others (or away from them) so that branches agree (or conflict)."""
    gradients = {
        name: {key: rng.normal(size=shape) for key, shape in subtree.items()} for name, subtree in SHAPES.items()
    } | {"fusion": rng.normal(size=(2,))}
    if towards is None:
        return gradients
    return jax.tree.map(lambda x, y: x + pull * y, gradients, towards)


def reference(multimodal, unimodal, gamma):
    """The released code's steps: one weight per branch, the norm restored array by array, gamma for all."""
    combined, weights = jax.tree.map(np.add, multimodal, unimodal), {}
    for name, keys in (("res", ["backbone", "classifier"]), ("dense", ["backbone"])):
        g = np.concatenate([multimodal[name][key].ravel() for key in keys])
        u = np.concatenate([unimodal[name][key].ravel() for key in keys])
        w = 0.5
        if g @ u / (np.linalg.norm(g) * np.linalg.norm(u)) < 0:
            squared_norm = lambda w, g=g, u=u: np.sum((w * g + (1 - w) * u) ** 2)  # noqa: E731
            w = minimize_scalar(squared_norm, bounds=(0, 1), method="bounded", options={"xatol": 1e-12}).x
        for key in keys:
            h = 2 * w * multimodal[name][key] + 2 * (1 - w) * unimodal[name][key]
            ratio = np.linalg.norm(multimodal[name][key] + unimodal[name][key]) / np.linalg.norm(h)
            combined[name][key] = gamma * max(ratio, 1) * h
        weights[name] = w
    return combined, weights


@pytest.mark.parametrize("pull", [-2.0, -0.5, 0.0, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_against_numpy(seed, pull):
    """Tolerance 1e-6 relative to the norm of each array; the reference's search for w is good to 1e-7."""
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        multimodal = random_gradients(rng)
        unimodal = random_gradients(rng, multimodal, pull)
        tx = combine_by_mmpareto(LABELS, rescale=1.5)
        found, state = jax.jit(tx.update)(multimodal, tx.init(multimodal), unimodal=unimodal)
        expected, weights = reference(multimodal, unimodal, 1.5)
        for name, w in weights.items():
            assert state.weights[name] == pytest.approx(w, abs=1e-6)
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert np.linalg.norm(x - y) <= 1e-6 * np.linalg.norm(y)


def test_both_cases_are_tested():
    """The random inputs above hold branches that conflict and branches that do not."""
    weights = []
    for pull in (-2.0, 1.0):
        rng = np.random.default_rng(0)
        multimodal = random_gradients(rng)
        weights.append(reference(multimodal, random_gradients(rng, multimodal, pull), 1.5)[1]["res"])
    assert weights[0] != 0.5
    assert weights[1] == 0.5


def test_what_comes_out_opposes_neither_loss():
    rng = np.random.default_rng(1)
    g = {"res": jnp.asarray(rng.normal(size=30), jnp.float32), "dense": jnp.asarray(rng.normal(size=30), jnp.float32)}
    u = jax.tree.map(lambda x: -3 * x + jnp.asarray(rng.normal(size=30), jnp.float32), g)
    tx = combine_by_mmpareto({"res": "res", "dense": "dense"})
    updates, _ = tx.update(g, tx.init(g), unimodal=u)
    for name, update in updates.items():
        assert float(jnp.vdot(g[name] + u[name], g[name])) < 0
        assert float(jnp.vdot(update, g[name])) > 0
        assert float(jnp.vdot(update, u[name])) > 0


def test_without_gradient_or_with_exactly_opposite_ones_there_is_no_nan():
    zero, x = jnp.zeros(3), jnp.array([1.0, -2.0, 0.5])
    tx = combine_by_mmpareto({"a": "a", "b": "b", "c": "c"}, rescale=1.0)
    multimodal, unimodal = {"a": zero, "b": x, "c": x}, {"a": zero, "b": zero, "c": -x}
    updates, _ = tx.update(multimodal, tx.init(multimodal), unimodal=unimodal)
    for name, expected in {"a": zero, "b": x, "c": zero}.items():
        np.testing.assert_array_equal(updates[name], expected)
    assert min_norm_weight(x, -x) == 0.5


def test_missing_unimodal_is_an_error():
    params = {"a": jnp.ones(2)}
    tx = combine_by_mmpareto({"a": "a"})
    with pytest.raises(ValueError, match="unimodal"):
        tx.update(params, tx.init(params))


def test_complex_gradients_are_those_of_their_real_and_imaginary_parts():
    rng = np.random.default_rng(2)
    g, u = (jnp.asarray(rng.normal(size=(2, 30)), jnp.float32) for _ in range(2))
    u = u - 2 * g
    tx = combine_by_mmpareto({"res": "res"})
    real, state = tx.update({"res": g}, tx.init({"res": g}), unimodal={"res": u})
    pair = {"res": jax.lax.complex(*g)}
    found, after = tx.update(pair, tx.init(pair), unimodal={"res": jax.lax.complex(*u)})
    np.testing.assert_allclose(after.weights["res"], state.weights["res"], rtol=1e-6)
    np.testing.assert_allclose(found["res"], jax.lax.complex(*real["res"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("unimodal", [{"a": jnp.ones(1)}, {"b": jnp.ones(2)}, {"a": None}])
def test_unimodal_gradients_unlike_the_updates_are_an_error(unimodal):
    params, tx = {"a": jnp.ones(2)}, combine_by_mmpareto({"a": "a"})
    with pytest.raises(ValueError, match="unimodal is not like the updates"):
        tx.update(params, tx.init(params), unimodal=unimodal)
