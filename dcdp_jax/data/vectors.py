"""Finds the three-axis vectors among channels, and how wearing a device on the other side of the body changes them."""

import re
from collections.abc import Mapping, Sequence

from dcdp_jax.data.recording import Channel
from dcdp_jax.data.units import unit_name
from dcdp_jax.errors import ConfigError

ANGLES = ("deg", "rad")  # units
AXES = ("x", "y", "z")
ANGULAR_RATES = ("rad/s", "deg/s")  # units

Triple = tuple[int, int, int]


def devices_of(channels: Sequence[Channel]) -> tuple[tuple[Triple, ...], ...]:
    """Returns for each site with a vector the (x, y, z) channels of all its vectors, which rotate together.

    A vector is three channels of one site and unit whose names differ in a last letter x, y, z (or X, Y, Z). Angles
    are not vectors, though they come in threes as well: channels of the group `orientation`, and units in `ANGLES`.
    Vectors in the frame of the room, which OPPORTUNITY's shoes have, rotate with the others of their device; this
    changes both frames.

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
            if group != "orientation" and unit_name(unit) not in ANGLES:
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


def check_loose_axes(channels: Sequence[Channel], field: str) -> None:
    """Raises ConfigError if a channel depends on the orientation but is in no vector: an angle, or a single axis."""
    among = {i for vectors in devices_of(channels) for vector in vectors for i in vector}
    for i, channel in enumerate(channels):
        angle = channel.group == "orientation" or unit_name(channel.unit) in ANGLES
        if i not in among and (angle or re.search(r"(^|_)[xyz]$", channel.name.lower())):
            raise ConfigError(
                f"{field}: {channel.name} depends on the orientation of its device and is no part of a vector of three "
                "axes; leave it out by data.channels"
            )


def mirror_signs(channels: Sequence[Channel], axes: Mapping[str, str], field: str) -> tuple[int, ...]:
    """Returns for each channel the factor, 1 or -1, that it has when the device is worn on the other side of the body.

    A motion R(t), p(t) of a device, seen in a mirror with the reflection S, is S R, S p. A right-handed device cannot
    have the axes S R; it has S R M, where M reflects one of its axes. Accelerations R' (p'' - g) become M times
    themselves where g lies in the mirror, and so does a magnetic field of another heading. The angular velocity
    w, with R' dR/dt = [w]x, becomes -M w: it keeps the axis that is reflected and changes the sign of the two others.
    Devices that are worn on both sides are not exchanged.

    Args:
      channels: of the recordings.
      axes: {site: x, y or z}, the axis that is reflected. It is the one that points the other way when a device that
        keeps facing out of the body, and keeps its upper end up, is worn on the other side.
      field: config field with its value, for messages.

    Raises:
      ConfigError: the axis is not known at a site, or a channel is no part of a vector and depends on the orientation.
    """
    check_loose_axes(channels, field)
    devices = devices_of(channels)
    sites = [channels[vectors[0][0]].site for vectors in devices]
    if unknown := [site for site in sites if axes.get(site) not in AXES]:
        raise ConfigError(
            f"{field}: which axis is reflected at {', '.join(map(repr, unknown))} is not known; give it as "
            "augment.mirror_axes=((SITE, AXIS), ...), with the axis x, y or z"
        )
    signs = [1] * len(channels)
    for site, vectors in zip(sites, devices, strict=True):
        for vector in vectors:
            for axis, i in zip(AXES, vector, strict=True):
                signs[i] = -1 if (axis == axes[site]) != is_angular_rate(channels[i]) else 1
    for i, channel in enumerate(channels):
        if is_angular_rate(channel) and channel.name.endswith("_vertical"):  # of the view `vertical`
            signs[i] = -1
    return tuple(signs)


def is_angular_rate(channel: Channel) -> bool:
    """Returns whether a channel is of a gyroscope."""
    return channel.group == "gyro" or unit_name(channel.unit) in ANGULAR_RATES
