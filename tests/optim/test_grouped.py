"""Vectors updated together against the same transformation array by array."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dcdp_jax.optim.grouped import group_vectors, separate_vectors, update_vectors_together

SHAPES = {"a": {"kernel": (3, 2, 4), "bias": (4,)}, "b": {"scale": (2,), "count": (), "kernel": (2, 5), "bias": (5,)}}


def tree(rng):
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32), SHAPES, is_leaf=lambda x: isinstance(x, tuple)
    )


@pytest.mark.parametrize("inner", [optax.scale_by_adam(0.9, 0.99, 1e-8), optax.ema(0.9, debias=False)])
def test_updates_and_state_are_those_of_the_inner_transformation(inner):
    rng = np.random.default_rng(0)
    params = tree(rng)
    grouped = update_vectors_together(inner)
    states = [grouped.init(params), inner.init(params)]
    for _ in range(4):
        gradients = tree(rng)
        found = jax.jit(grouped.update)(gradients, states[0], params)
        wanted = jax.jit(inner.update)(gradients, states[1], params)
        states = [found[1], wanted[1]]
        assert jax.tree.structure(found) == jax.tree.structure(wanted)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), found, wanted)


def test_vectors_are_one_array_and_come_apart_again():
    params = tree(np.random.default_rng(0))
    params["b"]["bias"] = params["b"]["bias"].astype(jnp.bfloat16)
    grouped = group_vectors(params)
    assert {dtype: x.shape for dtype, x in grouped["vectors"].items()} == {"float32": (6,), "bfloat16": (5,)}
    jax.tree.map(np.testing.assert_array_equal, separate_vectors(grouped, params), params)


def test_all_vectors_take_one_update():
    params = {str(i): jnp.ones(3) for i in range(20)}
    tx = update_vectors_together(optax.scale_by_adam())
    program = str(jax.make_jaxpr(tx.update)(params, tx.init(params), params))
    assert program.count(" sqrt ") == 1


def test_tree_map_params_sees_the_moments():
    params = tree(np.random.default_rng(0))
    tx = update_vectors_together(optax.scale_by_adam())
    state = optax.tree_map_params(tx, lambda m: m + 1, tx.init(params))
    jax.tree.map(lambda m, p: np.testing.assert_array_equal(m, np.ones(p.shape)), state.mu, params)


def test_several_seeds_and_networks_without_vectors():
    tx = update_vectors_together(optax.scale_by_adam())
    params = {"kernel": jnp.ones((2, 3))}
    updates, _ = tx.update(params, tx.init(params), params)
    assert updates["kernel"].shape == (2, 3)
    many = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), tree(np.random.default_rng(0)))
    found, _ = jax.vmap(lambda p: tx.update(p, tx.init(p), p))(many)
    wanted, _ = jax.vmap(lambda p: optax.scale_by_adam().update(p, optax.scale_by_adam().init(p), p))(many)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, wanted)


def test_update_without_params_is_an_error():
    params = {"bias": jnp.ones(2)}
    tx = update_vectors_together(optax.scale_by_adam())
    with pytest.raises(ValueError, match="needs params"):
        tx.update(params, tx.init(params))
