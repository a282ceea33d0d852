"""The fusion of the branches, by NumPy from the parameters of the head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.fusion import FUSIONS, FusionHead, replaced_branch

B, D, K, NAMES = 6, 3, 4, ("dense", "res", "third")
RNG = np.random.default_rng(0)
EMBEDDINGS = {name: jnp.asarray(RNG.normal(size=(B, D)), jnp.float32) for name in NAMES}
LOGITS = {name: jnp.asarray(RNG.normal(size=(B, K)), jnp.float32) for name in NAMES}
KEYS = jax.random.split(jax.random.key(1), B)


def make(kind, modality_dropout=0.0):
    """A head without dropout, and its parameters at random."""
    head = FusionHead(K, hidden=5, dropout=0.0, kind=kind, modality_dropout=modality_dropout)
    params = head.init(jax.random.key(0), EMBEDDINGS, LOGITS, None).get("params", {})
    rng = np.random.default_rng(2)
    return head, jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)


def layer(p, x):
    return x @ np.asarray(p["kernel"], np.float64) + np.asarray(p["bias"], np.float64)


def expected(kind, params, embeddings, logits):
    h = {name: np.asarray(x, np.float64) for name, x in embeddings.items()}
    if kind == "sum":
        return sum(np.asarray(z, np.float64) for z in logits.values())
    x = np.concatenate([h[name] for name in NAMES], axis=1)
    if kind == "gated":
        scores = np.exp(layer(params["gate"], x).reshape(B, len(NAMES), D))
        gates = scores / scores.sum(axis=1, keepdims=True)
        x = sum(gates[:, i] * np.tanh(layer(params[f"{name}_value"], h[name])) for i, name in enumerate(NAMES))
    return layer(params["Dense_1"], np.maximum(layer(params["Dense_0"], x), 0))


@pytest.mark.parametrize("kind", FUSIONS)
def test_fusion_against_numpy(kind):
    head, params = make(kind)
    found = head.apply({"params": params}, EMBEDDINGS, LOGITS, KEYS)
    np.testing.assert_allclose(found, expected(kind, params, EMBEDDINGS, LOGITS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", FUSIONS)
def test_a_branch_is_replaced_by_its_learnt_vector_in_training_alone(kind):
    head, params = make(kind, modality_dropout=0.7)
    replaced = replaced_branch(jax.vmap(jax.random.fold_in, (0, None))(KEYS, 1), len(NAMES), 0.7)
    assert {-1} < set(replaced.tolist())  # these keys replace some branches, and none in one window
    read = {}
    for i, name in enumerate(NAMES):
        source = np.array(LOGITS[name] if kind == "sum" else EMBEDDINGS[name])
        source[np.asarray(replaced) == i] = params[f"{name}_replacement"]
        read[name] = source
    given = (EMBEDDINGS, read) if kind == "sum" else (read, LOGITS)
    np.testing.assert_allclose(
        head.apply({"params": params}, EMBEDDINGS, LOGITS, KEYS), expected(kind, params, *given), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        head.apply({"params": params}, EMBEDDINGS, LOGITS, None),
        expected(kind, params, EMBEDDINGS, LOGITS),
        rtol=1e-5,
        atol=1e-5,
    )


def test_share_of_the_replaced_branches():
    """Within four standard deviations of 20,000 draws."""
    drawn = np.asarray(replaced_branch(jax.random.split(jax.random.key(3), 20_000), 2, 0.3))
    for branch, share in ((-1, 0.7), (0, 0.15), (1, 0.15)):
        assert abs((drawn == branch).mean() - share) < 4 * (share * (1 - share) / 20_000) ** 0.5
