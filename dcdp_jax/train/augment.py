"""Augmentation of training windows, inside the compiled step.

With probability `augment.mirror` a window is first mirrored, as if the devices were worn on the other side of the body;
see `vectors.mirror_signs`. Then five transformations are applied in this order, each drawn independently with the same
probability:

1. rotation of the raw signals, because a rotation applies to physical vectors and not to z-scored axes. One matrix per
   device and window for all vectors that the device measures, as if it were worn in another orientation: uniform on
   SO(3), or, to keep the direction of gravity, a turn about the window's mean acceleration with a small tilt.
2. time warp: the speed of time has mean 1 and changes linearly between random knots. A cubic through the same knots, as
   in Um et al. 2017, may fall below zero between them, and time would run backwards.
3. permutation: equal segments of the window in a random order. It follows the warp, so that nothing is interpolated
   across the joins.
4. normalisation with the statistics of the training set; always applied.
5. scaling: one factor per channel of the normalised signal. Scaling the raw signal would shift a channel with a large
   mean and a small standard deviation, such as gravity or a magnetic field, by many standard deviations.
6. jitter: white noise, in standard deviations. It comes last, so that no interpolation smooths it.

With `augment.mixup_alpha` every window is then mixed with another of the batch, see `mixup.py`.

2 and 3 map time in the same way for all channels of all branches, so that contrastive pairs stay simultaneous. Draws
are functions of (seed, step, place in the global batch) and do not depend on the number of devices. Switching one
transformation off does not change the draws of the others.

T. T. Um et al. 2017, Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
neural networks. https://arxiv.org/abs/1706.00527
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.normalize import normalize
from dcdp_jax.data.recording import Channel
from dcdp_jax.data.vectors import Triple, accelerations_of, devices_of, mirror_signs
from dcdp_jax.errors import ConfigError
from dcdp_jax.optim.branches import is_zero
from dcdp_jax.train.rotation import keep_axes, mean_directions, rotate, rotation_matrices

# Keep the keys apart from those of dropout, which draws from the windows' own keys.
STREAM = 0x61756775
MIRROR = 0x6D697272
SLOWEST = 0.1  # smallest speed relative to the mean; keeps time from standing still

Array = jax.Array | np.ndarray


class Augmentation(NamedTuple):
    """Strengths of the transformations of a window."""

    probability: float | jax.Array  # of each change
    jitter_sigma: float | jax.Array  # standard deviation of the noise, in units of the normalised signals; 0 for none
    scaling_sigma: float | jax.Array  # standard deviation of the factors around 1; 0 for none
    # for each device the (x, y, z) channels of its vectors, see `vectors.devices_of`; () for no rotation
    devices: tuple[tuple[Triple, ...], ...]
    time_warp_sigma: float | jax.Array  # standard deviation of the speed of time around 1 at the knots; 0 for none
    time_warp_knots: int  # between the ends of the window, which are knots as well
    permutation_segments: int  # 1 for none
    # for each device the (x, y, z) channels whose mean a rotation keeps, see `rotation.keep_axes`; () for
    # rotations uniform on SO(3)
    accelerations: tuple[Triple, ...] = ()
    rotation_tilt: float | jax.Array = 5.0  # the largest angle in degrees between that mean and the rotated one
    mixup_alpha: float | jax.Array = 0.0  # of `mixup.draw_pairs`; 0 for none. Every window is mixed
    mirror: float | jax.Array = 0.0  # probability that a window is mirrored; 0 for none
    # factor of each of the c channels of a mirrored window, see `vectors.mirror_signs`; () for none
    mirror_signs: tuple[int, ...] = ()


class Draws(NamedTuple):
    """Random draws of one window; the identity for each transformation that was not drawn."""

    rotations: jax.Array  # (devices, 3, 3)
    positions: jax.Array  # (t,) where in the window each sample is taken from; fractions interpolate
    factors: jax.Array  # (c,)
    noise: jax.Array  # (t, c)


def build_augmentation(
    config: ConfigDict, channels: Sequence[Channel], mirror_axes: Mapping[str, str]
) -> Augmentation | None:
    """Builds the augmentation of the `augment` part of a config; returns None if it is off.

    Raises ConfigError if rotation is on and no three channels form a vector, if `rotation_kind` is 'gravity' and a
    device has no acceleration, or if `mirror` is above 0 and an axis that it needs is unknown, see `mirror_signs`.
    """
    if not config.enabled:
        return None
    devices = devices_of(channels) if config.rotation else ()
    if config.rotation and not devices:
        raise ConfigError(
            f"augment.rotation=True, but no three of the channels {', '.join(c.name for c in channels)} are named "
            f"..x, ..y, ..z and have one device and unit; set --config.augment.rotation=False"
        )
    accelerations: tuple[Triple, ...] = ()
    if config.rotation_kind == "gravity":
        otherwise = "set --config.augment.rotation_kind=uniform, or --config.augment.rotation=False"
        accelerations = accelerations_of(channels, devices, "augment.rotation_kind='gravity'", otherwise)
    signs = () if is_zero(config.mirror) else mirror_signs(channels, mirror_axes, "augment.mirror above 0")
    strengths = {name: config[name] for name in Augmentation._fields if name in config}
    return Augmentation(**strengths, devices=devices, accelerations=accelerations, mirror_signs=signs)


def augment(x: jax.Array, keys: jax.Array, augmentation: Augmentation, shift: Array, scale: Array) -> jax.Array:
    """Augments windows (b, t, c), with a key (b,) for each, see `step.window_keys`, and normalises them."""

    def one(window: jax.Array, key: jax.Array) -> jax.Array:
        if augmentation.mirror_signs:
            mirrored = jax.random.uniform(jax.random.fold_in(key, MIRROR)) < augmentation.mirror
            window = jnp.where(mirrored, jnp.asarray(augmentation.mirror_signs, window.dtype), 1) * window
        axes = mean_directions(window, augmentation.accelerations) if augmentation.accelerations else None
        draws = draw(jax.random.fold_in(key, STREAM), augmentation, *window.shape, axes=axes)
        return apply(window, draws, augmentation.devices, shift, scale)

    return jax.vmap(one)(x, keys)


def draw(key: jax.Array, augmentation: Augmentation, t: int, c: int, *, axes: jax.Array | None = None) -> Draws:
    """Draws all random numbers of one window of t samples and c channels.

    Axes (devices, 3) are unit vectors that rotations preserve, see `rotation.keep_axes`; None for uniform rotations.
    """
    a = augmentation
    # Three draws, each of one row: a draw costs half a second of compilation, and a draw of a table costs two. Optional
    # numbers come last.
    choosing, shaping, jittering = jax.random.split(key, 3)
    uniform = jax.random.uniform(choosing, (5 + a.permutation_segments,))
    rotated, warped, permuted, scaled, jittered = uniform[:5] < a.probability
    knots = a.time_warp_knots + 2
    normal = jax.random.normal(shaping, (c + knots + 4 * len(a.devices),))
    scaling, warping, rotating = jnp.split(normal, (c, c + knots))

    quaternions = rotating.reshape(-1, 4)
    if axes is not None:
        quaternions = keep_axes(quaternions, axes, a.rotation_tilt)
    rotations = jnp.where(rotated, rotation_matrices(quaternions), jnp.eye(3))
    positions = jnp.arange(t, dtype=jnp.float32)
    if not is_zero(a.time_warp_sigma):
        positions = jnp.where(warped, warp(1 + a.time_warp_sigma * warping, t), positions)
    if a.permutation_segments > 1:
        positions = jnp.where(permuted, positions[permute(jnp.argsort(uniform[5:]), t)], positions)
    factors = jnp.where(scaled, 1 + a.scaling_sigma * scaling, 1.0)
    noise = jnp.zeros((t, c))
    if not is_zero(a.jitter_sigma):
        noise = jnp.where(jittered, a.jitter_sigma * jax.random.normal(jittering, (t * c,)).reshape(t, c), 0.0)
    return Draws(rotations, positions, factors, noise)


def apply(x: jax.Array, draws: Draws, devices: Sequence[Sequence[Triple]], shift: Array, scale: Array) -> jax.Array:
    """Applies the draws to one window (t, c) and normalises it."""
    x = rotate(x, draws.rotations, devices)
    x = interpolate(x, draws.positions)
    return normalize(x, shift, scale) * draws.factors + draws.noise


def warp(speeds: jax.Array, t: int) -> jax.Array:
    """Returns a smooth, strictly increasing map of time, (t,) from 0 to t - 1, from its (knots + 2,) speeds.

    The speed v is linear between evenly spaced knots, both ends included, and at least `SLOWEST`; sample i is taken
    from (t - 1) * integral(v, 0..i) / integral(v, 0..t-1), by the trapezoidal rule. Both ends therefore do not move.
    """
    knots = np.linspace(0, t - 1, len(speeds))
    v = np.stack([np.interp(np.arange(t), knots, unit) for unit in np.eye(len(speeds))], axis=1)
    travelled = np.concatenate([np.zeros((1, len(speeds))), np.cumsum((v[1:] + v[:-1]) / 2, axis=0)])
    # A sum, not a matrix product: see `rotation.rotate`.
    distance = jnp.sum(jnp.asarray(travelled, speeds.dtype) * jnp.maximum(speeds, SLOWEST), axis=1)
    return jnp.minimum(distance / distance[-1] * (t - 1), t - 1)


def permute(order: jax.Array, t: int) -> jax.Array:
    """Returns the (t,) int32 samples of a window whose equal segments are in the (segments,) order.

    If the number of segments does not divide t, their lengths differ by one.
    """
    bounds = np.arange(len(order) + 1) * t // len(order)
    lengths = jnp.asarray(np.diff(bounds), jnp.int32)[order]
    ends = jnp.cumsum(lengths)
    place = jnp.arange(t, dtype=jnp.int32)
    at = jnp.sum(place[:, None] >= ends, axis=1, dtype=jnp.int32)
    return jnp.asarray(bounds[:-1], jnp.int32)[order][at] + place - (ends - lengths)[at]


def interpolate(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Interpolates a window (t, c) linearly at positions (t,) between 0 and t - 1; exact at whole positions."""
    last = x.shape[0] - 1
    below = jnp.minimum(positions.astype(jnp.int32), last)
    low, high = x[below], x[jnp.minimum(below + 1, last)]
    return low + (positions - below.astype(x.dtype))[:, None] * (high - low)
