"""Finds the three-axis vectors among channels, and those that a device measures together."""

from collections.abc import Sequence

from dcdp_jax.data.recording import Channel
from dcdp_jax.errors import ConfigError

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


def accelerations_of(
    channels: Sequence[Channel], devices: Sequence[Sequence[Triple]], field: str, otherwise: str
) -> tuple[Triple, ...]:
    """Returns the (x, y, z) channels of the vector of each device that holds gravity.

    This is the vector of the group `acc` that is named `gravity`, as in MotionSense, else the first of the group, which
    is the one with gravity in UCI-HAR, and in a room's frame for OPPORTUNITY's shoes.

    Args:
      channels: of the recordings.
      devices: from `devices_of`.
      field: config field with its value that needs them, for the message.
      otherwise: what to set instead, for the message.

    Raises:
      ConfigError: a device has none.
    """
    found = []
    for triples in devices:
        accelerations = [triple for triple in triples if channels[triple[0]].group == "acc"]
        if not accelerations:
            raise ConfigError(
                f"{field} needs a vector of the group 'acc' from every device, and {channels[triples[0][0]].site!r} "
                f"has none; {otherwise}"
            )
        named = [triple for triple in accelerations if channels[triple[0]].name.startswith("gravity")]
        found.append((named or accelerations)[0])
    return tuple(found)
