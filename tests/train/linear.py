"""A model that NumPy repeats in three lines, in place of a network."""

import jax.numpy as jnp
import numpy as np

from dcdp_jax.models.multipath import Outputs
from dcdp_jax.train.build import build_branches
from dcdp_jax.train.state import TrainState


def flat(x):
    return x.reshape(len(x), -1)


class Linear:
    """Each head a matrix on the means of a window's first and second half."""

    def __init__(self, branches):
        self.branches = {branch.name: list(branch.channels) for branch in branches}

    def apply(self, variables, x):
        weights = variables["params"]
        means = x.reshape(len(x), 2, -1, x.shape[-1]).mean(axis=2)
        branches = {name: flat(means[..., jnp.array(c)]) @ weights[name] for name, c in self.branches.items()}
        return Outputs(flat(means) @ weights["fusion"], branches, {}, [])


def random_state(config, dataset):
    """Parameters of `Linear`."""
    rng = np.random.default_rng(1)
    c, k = len(dataset.channels), len(dataset.class_names)
    sizes = {branch.name: len(branch.channels) for branch in build_branches(config, dataset)} | {"fusion": c}
    params = {name: rng.normal(size=(2 * size, k)).astype(np.float32) for name, size in sizes.items()}
    return TrainState(np.uint32(0), np.int32(0), params, {}, ())


def normalised_windows(dataset, split):
    """(n, t, c) in float64."""
    x = dataset.signals[split.starts[:, None] + np.arange(dataset.window)].astype(np.float64)
    return (x - dataset.normalizer.shift) * dataset.normalizer.scale


def head_probabilities(x, state, channels):
    """{head: (n, k)} by NumPy; channels: {branch: those that it reads}."""
    half = x.shape[1] // 2
    means = np.stack([x[:, :half].mean(axis=1), x[:, half:].mean(axis=1)], axis=1)
    heads = channels | {"fusion": range(x.shape[-1])}
    logits = {name: flat(means[..., list(members)]) @ state.params[name] for name, members in heads.items()}
    return {name: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for name, z in logits.items()}
