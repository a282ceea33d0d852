"""Hydra (Dempster, Schmidt and Webb 2023, "Hydra: competing convolutional kernels for fast and accurate time series
classification", Data Mining and Knowledge Discovery 37), in its authors' form for several channels.

The kernels of a group compete: at every sample, the largest response is added to the count of its kernel, and 1 to the
other count of the kernel with the smallest response. Half of the groups read the signals, half their first differences.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dcdp_jax.models.classical.features import Features, dilated_taps

TAPS = 9
GROUPS, KERNELS = 32, 8  # groups per dilation and input, kernels per group; as in the source
MOST_CHANNELS = 8  # largest number of channels whose sum a group reads


def make_features(sample: np.ndarray, seed: int) -> Features:
    """Draws the kernels and the channels of each group, for windows of the sample's shape.

    Returns:
      A function from (n, t, c) windows to (n, f) counts, 1,024 for each dilation 1, 2, 4, ... up to (t - 1) / 8.
    """
    rng = np.random.default_rng(seed)
    t, channels = sample.shape[1:]
    summed = int(np.clip(channels // 2, 2, MOST_CHANNELS))
    parts = []
    for dilation in 2 ** np.arange(int(np.log2((t - 1) / (TAPS - 1))) + 1):
        for differences in (False, True):
            kernels = rng.normal(size=(GROUPS, TAPS, KERNELS)).astype(np.float32)
            kernels -= kernels.mean(axis=1, keepdims=True)
            kernels /= np.abs(kernels).sum(axis=1, keepdims=True)
            reads = rng.integers(channels, size=(GROUPS, summed))
            parts.append((int(dilation), differences, kernels, reads))

    @jax.jit
    def counts(x: jax.Array) -> jax.Array:
        inputs = {False: x, True: jnp.diff(x, axis=1)}
        found = [
            competition(inputs[differences][:, :, reads].sum(axis=-1), jnp.asarray(kernels), dilation)
            for dilation, differences, kernels, reads in parts
        ]
        return jnp.concatenate([features.reshape(len(x), -1) for features in found], axis=1)

    return lambda x: np.asarray(counts(x))


def competition(x: jax.Array, kernels: jax.Array, dilation: int) -> jax.Array:
    """Counts which dilated kernels, (g, 9, k), win on the input of each group, (n, t, g), zero outside.

    Returns:
      (n, 2, g, k): the sum of the largest responses, and the number of smallest responses.
    """
    taps = jnp.stack(dilated_taps(x, TAPS, dilation), axis=-1)  # (n, t, g, 9)
    responses = jnp.einsum("ntgw,gwk->ntgk", taps, kernels, precision="highest")
    largest = jax.nn.one_hot(responses.argmax(axis=-1), kernels.shape[-1]) * responses
    smallest = jax.nn.one_hot(responses.argmin(axis=-1), kernels.shape[-1])
    return jnp.stack([largest.sum(axis=1), smallest.sum(axis=1)], axis=1)
