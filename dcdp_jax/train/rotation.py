"""Rotations of the devices that a window was recorded with."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dcdp_jax.data.recording import Channel
from dcdp_jax.errors import ConfigError
from dcdp_jax.losses import l2_normalize

ANGLES = ("deg", "rad")  # units

Triple = tuple[int, int, int]


def devices_of(channels: Sequence[Channel]) -> tuple[tuple[Triple, ...], ...]:
    """Returns for each site with a vector the (x, y, z) channels of all its vectors, which turn together.

    A vector is three channels of one site and unit whose names differ in a last letter x, y, z (or X, Y, Z). Angles
    are none, though they come in threes as well: neither channels of the group `orientation` nor units `ANGLES`.
    Vectors in a frame of the room, as OPPORTUNITY's shoes have, turn with the others of their device: a change of
    both frames.

    >>> waist = [Channel(f"{name}_{axis}", name, "waist", "g") for name in ("acc", "gyro") for axis in "xyz"]
    >>> devices_of([*waist, Channel("heart_rate", "heart_rate", "chest", "bpm")])
    (((0, 1, 2), (3, 4, 5)),)
    """
    index = {(c.name, c.site, c.unit): i for i, c in enumerate(channels)}
    devices: dict[str, list[Triple]] = {}
    for name, group, site, unit in channels:
        for axes in ("xyz", "XYZ"):
            x, y, z = (index.get((name[:-1] + axis, site, unit)) for axis in axes)
            if not name.endswith(axes[0]) or x is None or y is None or z is None:
                continue
            if group != "orientation" and unit not in ANGLES:
                devices.setdefault(site, []).append((x, y, z))
    return tuple(map(tuple, devices.values()))


def accelerations_of(channels: Sequence[Channel], devices: Sequence[Sequence[Triple]]) -> tuple[Triple, ...]:
    """Returns the (x, y, z) channels of each device's first vector of the group `acc`.

    The first is the one with gravity in UCI-HAR, and in a room's frame for OPPORTUNITY's shoes.

    Raises:
      ConfigError: a device has none.
    """
    found = []
    for triples in devices:
        accelerations = [triple for triple in triples if channels[triple[0]].group == "acc"]
        if not accelerations:
            raise ConfigError(
                f"augment.rotation_kind='gravity' needs a vector of the group 'acc' from every device, and "
                f"{channels[triples[0][0]].site!r} has none; set --config.augment.rotation_kind=uniform, or "
                "--config.augment.rotation=False"
            )
        found.append(accelerations[0])
    return tuple(found)


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

    Every quaternion is a product of a turn about the axis, whose vector part is parallel to it, and a tilt, whose
    vector part is across and as long as sin(angle / 2). Its square is uniform from 0 to 1 in a uniform rotation; here
    it is scaled to end at the largest tilt. With 180 degrees the rotations are those of the normals themselves.

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
    """Rotates all vectors of each device in (t, c) by its matrix, (devices, 3, 3); other channels stay.

    Written as sums of products, not as a matrix product, which accelerators compute with fewer digits.
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
