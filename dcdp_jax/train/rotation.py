"""Rotations of the devices of a window."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dcdp_jax.data.vectors import Triple
from dcdp_jax.losses import l2_normalize


def rotation_matrices(normals: jax.Array) -> jax.Array:
    """Returns (n, 3, 3) rotations uniform on SO(3) from (n, 4) standard normal numbers.

    A normal 4-vector, normalised, is a uniform unit quaternion (Shoemake 1992).
    """
    w, x, y, z = (normals / jnp.sqrt(jnp.sum(normals**2, axis=1, keepdims=True))).T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def mean_directions(x: jax.Array, vectors: Sequence[Triple]) -> jax.Array:
    """Returns the directions of the mean vectors of one (t, c) window, (vectors, 3); a mean of zero gives z."""
    directions = l2_normalize(x.mean(axis=0)[np.array(vectors)])
    return jnp.where(jnp.sum(directions**2, axis=1, keepdims=True) > 0.5, directions, jnp.array([0.0, 0.0, 1.0]))


def keep_axes(normals: jax.Array, axes: jax.Array, tilt: float | jax.Array) -> jax.Array:
    """Returns rotations by a uniform angle about an axis, followed by a tilt of the axis that is uniform on a cap.

    Every quaternion is a product of a turn about the axis, whose vector part is parallel to the axis, and a tilt, whose
    vector part is orthogonal to it with length sin(angle / 2). In a uniform rotation the square of that length is
    uniform from 0 to 1; here it is scaled to end at the largest tilt. With 180 degrees the rotations are those of
    `rotation_matrices`.

    Args:
      normals: (n, 4) standard normal numbers, see `rotation_matrices`.
      axes: (n, 3) unit vectors.
      tilt: largest angle in degrees between an axis and the rotated one.

    Returns:
      (n, 4) unit quaternions.
    """
    w, vector = normals[:, :1], normals[:, 1:]
    along = jnp.sum(vector * axes, axis=1, keepdims=True)
    across = (vector - along * axes) / jnp.sqrt(jnp.sum(normals**2, axis=1, keepdims=True))
    across = jnp.sin(jnp.radians(tilt / 2)) * across
    rest = jnp.sqrt((1 - jnp.sum(across**2, axis=1, keepdims=True)) / (w**2 + along**2))
    return jnp.concatenate([rest * w, rest * along * axes + across], axis=1)


def rotate(x: jax.Array, rotations: jax.Array, devices: Sequence[Sequence[Triple]]) -> jax.Array:
    """Rotates all vectors of each device in (t, c) by its matrix, (devices, 3, 3). Other channels do not change.

    Written as sums of products instead of a matrix product, which accelerators compute with lower precision.
    """
    if not devices:
        return x
    channels = x.shape[-1]
    # Every channel is row `axis` of a matrix times the channels `source`; those of no vector are the first row of an
    # identity, the last matrix, times themselves.
    device, axis = np.full(channels, len(devices)), np.zeros(channels, int)
    source = np.repeat(np.arange(channels)[:, None], 3, axis=1)
    for d, triples in enumerate(devices):
        for triple in triples:
            for a, channel in enumerate(triple):
                device[channel], axis[channel], source[channel] = d, a, triple
    rows = jnp.concatenate([rotations, jnp.eye(3)[None]])[device, axis]
    first, second, third = (rows[:, k] * x[:, source[:, k]] for k in range(3))
    return first + second + third
