"""Kernels drawn at once follow the law that the layers declare, and all else starts as the layers say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.baselines.baseline import SinglePath
from dcdp_jax.models.kernels import is_kernel
from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.train.state import create_state
from tests.slow import slow

WINDOW, CHANNELS, CLASSES = 32, 6, 5


def network(name):
    if name != "dcdp_har":
        return SinglePath(BASELINES[name](CLASSES, 8, None))
    branches = (BranchSpec("res", "resnet", (0, 1, 2)), BranchSpec("dense", "densenet", (3, 4, 5)))
    return MultiPath(branches, CLASSES, width=8, resnet_blocks=(1, 1), densenet_blocks=(1, 1))


def declared_by(model, seed):
    """Returns the variables that the layers draw themselves, with a generator that compiles in half the time."""
    key = jax.random.key(seed, impl="unsafe_rbg")
    return jax.jit(model.init)(key, jnp.zeros((1, WINDOW, CHANNELS)))


def leaves(params):
    return jax.tree_util.tree_leaves_with_path(params)


@pytest.mark.parametrize("name", ["dcdp_har", "cnn", "lstm", *slow(*sorted(BASELINES.keys() - {"cnn", "lstm"}))])
def test_law(name):
    model = network(name)
    state = create_state(model, optax.sgd(0.1), 3, WINDOW, CHANNELS)
    declared = declared_by(model, 3)
    assert jax.tree.structure(state.params) == jax.tree.structure(declared["params"])
    for (path, drawn), (_, own) in zip(leaves(state.params), leaves(declared["params"]), strict=True):
        assert drawn.shape == own.shape
        assert drawn.dtype == own.dtype
        if not is_kernel(path):
            assert drawn.std() == pytest.approx(own.std(), rel=0.5)  # constants, and the gates of recurrent baselines
            continue
        deviation = np.sqrt(2 / np.prod(drawn.shape[:-1]))
        for kernel in (np.asarray(drawn, np.float64), np.asarray(own, np.float64)):
            # Six standard errors of a mean, and of a root mean square whose kurtosis is below the normal's.
            assert abs(kernel.mean()) < 6 * deviation / np.sqrt(kernel.size)
            assert abs(np.sqrt((kernel**2).mean()) / deviation - 1) < 6 / np.sqrt(2 * kernel.size)
            assert abs(kernel).max() <= 2.001 * deviation / 0.8796


def test_constants_are_as_declared():
    model = network("dcdp_har")
    state = create_state(model, optax.sgd(0.1), 3, WINDOW, CHANNELS)
    declared = declared_by(model, 7)
    jax.tree.map(np.testing.assert_array_equal, state.batch_stats, declared["batch_stats"])
    for (path, drawn), (_, own) in zip(leaves(state.params), leaves(declared["params"]), strict=True):
        if not is_kernel(path):
            np.testing.assert_array_equal(drawn, own)


def test_seeds_and_layers_differ():
    model = network("dcdp_har")
    one, same, other = (create_state(model, optax.sgd(0.1), seed, WINDOW, CHANNELS).params for seed in (0, 0, 1))
    kernels = [[np.asarray(x).ravel() for path, x in leaves(p) if is_kernel(path)] for p in (one, same, other)]
    for a, b, c in zip(*kernels, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).mean() > 0.99
    firsts = [kernel[:3] for kernel in kernels[0]]
    assert len({tuple(first * np.sqrt(len(first))) for first in firsts}) == len(firsts)
