"""Packing joins vectors and nothing else, and the optimiser then does the same to every number."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import default
from dcdp_jax.train.build import build_settings
from dcdp_jax.train.packing import Packed, pack, unpack
from dcdp_jax.train.state import TrainState
from tests.optim.chains import make_chain

SHAPES = {
    "res": {"norm": {"scale": (3,), "bias": (3,)}, "conv": {"kernel": (2, 3, 4), "bias": (4,)}},
    "dense": {"classifier": {"kernel": (3, 2), "bias": (2,)}},  # a single vector stays as it is
    "fusion": {"scale": (5,), "bias": (5,)},
}


def tree(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: rng.normal(size=shape).astype(np.float32), SHAPES, is_leaf=lambda x: isinstance(x, tuple)
    )


LABELS = {"res": "res", "dense": "dense", "fusion": None}


def test_the_vectors_of_an_entry_are_one_array_and_come_back_as_they_were():
    params, others = tree(0), {"batch_stats": {"mean": np.ones(3)}, "step": np.int32(4)}
    packed = pack({"params": params, **others}, params)
    assert isinstance(packed["params"]["res"], Packed)
    assert packed["params"]["res"].vector.shape == (10,)
    assert [x.shape for x in packed["params"]["res"].others] == [(2, 3, 4)]
    assert packed["params"]["fusion"].vector.shape == (10,)
    assert packed["params"]["dense"] is params["dense"]
    assert packed["batch_stats"]["mean"] is others["batch_stats"]["mean"]
    found = unpack(packed)
    assert jax.tree.structure(found) == jax.tree.structure({"params": params, **others})
    jax.tree.map(np.testing.assert_array_equal, found["params"], params)


@pytest.mark.parametrize(("name", "placement"), [("adamw", "before"), ("sgd", "after")])
def test_a_packed_chain_makes_the_same_updates(name, placement):
    rate = optax.linear_schedule(0.1, 0.0, 10)
    chain = make_chain(name, rate, b2=0.99, weight_decay=0.1, clip_norm=2.0, labels=LABELS, placement=placement)
    confidence = {"res": np.float32(60.0), "dense": np.float32(40.0)}

    def loss(params, targets):
        return sum(jnp.sum((p - t) ** 2) for p, t in zip(*map(jax.tree.leaves, (unpack(params), targets)), strict=True))

    def updated(state, targets):
        gradients = jax.grad(loss)(state.params, targets)
        updates, opt_state = chain.update(gradients, state.opt_state, state.params, confidence=confidence)
        return state.replace(params=optax.apply_updates(state.params, updates), opt_state=opt_state)

    @jax.jit
    def both(params, targets):
        state = TrainState(0, 0, params, {}, chain.init(params))
        packed = pack(state, params)
        assert len(jax.tree.leaves(packed)) < len(jax.tree.leaves(state))
        for one in targets:
            state, packed = updated(state, one), updated(packed, one)
        return unpack(packed), state

    found, wanted = both(tree(0), [tree(1), tree(2)])
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7), found, wanted)
    assert np.abs(found.params["res"]["norm"]["bias"] - tree(0)["res"]["norm"]["bias"]).min() > 1e-3


@pytest.mark.parametrize(
    ("fields", "packs"),
    [
        ({}, True),
        ({"cgm.enabled": False}, True),
        ({"cgm.scope": "classification"}, True),
        ({"cgm.scope": "head"}, False),
        ({"modulation.name": "ogm_ge"}, False),
        ({"modulation.name": "mmpareto"}, False),
    ],
)
def test_only_methods_that_do_the_same_to_a_whole_entry_see_it_packed(fields, packs):
    config = default.get_config()
    config.data.name = "uci_har"
    config.update_from_flattened_dict(fields)
    assert build_settings(config, SimpleNamespace(window=8, channels=()), 10).pack_vectors is packs
