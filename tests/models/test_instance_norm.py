"""Instance normalisation by NumPy in double precision, and in the networks that read it."""

import jax
import jax.numpy as jnp
import numpy as np

from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.baselines.baseline import SinglePath
from dcdp_jax.models.instance_norm import with_instance_norm
from dcdp_jax.models.multipath import BranchSpec, MultiPath

B, T, C, K = 4, 24, 5, 3
RNG = np.random.default_rng(0)
WINDOWS = (RNG.normal(size=(B, T, C)) * 10.0 ** RNG.integers(-4, 2, (B, 1, C)) + RNG.normal(size=(B, 1, C))).astype(
    np.float32
)
WINDOWS[0, :, 0] = 0.5  # constant
X = jnp.asarray(WINDOWS)


def expected(x):
    x = np.asarray(x, np.float64)
    deviation = np.sqrt(x.var(axis=1, keepdims=True) + 1e-6)
    return np.concatenate([x, (x - x.mean(axis=1, keepdims=True)) / deviation, np.log(deviation) + 0 * x], axis=-1)


def test_against_numpy():
    np.testing.assert_allclose(with_instance_norm(X), expected(WINDOWS), rtol=1e-5, atol=1e-4)


def test_small_movements_count_as_large_ones():
    small, large = (np.asarray(with_instance_norm(f * X[1:]))[..., C : 2 * C] for f in (1.0, 100.0))
    lively = WINDOWS[1:].std(axis=1, keepdims=True) > 0.1
    np.testing.assert_allclose(np.where(lively, small, 0), np.where(lively, large, 0), atol=1e-3)


def test_each_branch_reads_its_own_channels():
    """It equals a network without, whose windows have the channels that NumPy computes."""
    branches = (("res", "resnet", (0, 2)), ("dense", "densenet", (1, 3, 4)))
    small = {"classes": K, "width": 4, "resnet_blocks": (1,) * 4, "densenet_blocks": (1,) * 4}
    network = MultiPath(tuple(BranchSpec(*branch) for branch in branches), **small, instance_norm=True)
    wider = [BranchSpec(n, kind, tuple(c + C * i for i in range(3) for c in own)) for n, kind, own in branches]
    plain = MultiPath(tuple(wider), **small)
    variables = network.init(jax.random.key(0), X)
    outputs = network.apply(variables, X)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        outputs,
        plain.apply(variables, jnp.asarray(expected(WINDOWS), jnp.float32)),
    )


def test_baselines_read_it_too():
    network, plain = (SinglePath(BASELINES["cnn"](K, 8), on) for on in (True, False))
    variables = network.init(jax.random.key(0), X)
    np.testing.assert_allclose(
        network.apply(variables, X).fusion,
        plain.apply(variables, jnp.asarray(expected(WINDOWS), jnp.float32)).fusion,
        rtol=1e-4,
        atol=1e-4,
    )
