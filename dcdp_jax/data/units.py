"""Compares the stated units of signals with what sensors can measure: gravity, and no rotation beyond their range."""

import functools
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from dcdp_jax.data.recording import Channel

GRAVITY = {"g": 1.0, "m/s^2": 9.80665, "mg": 1000.0}  # in each unit
KNOWN = {*GRAVITY, "rad/s", "deg/s"}
FASTEST = 35.0  # rad/s, the range of most gyroscopes: 2000 degrees a second
NONE, COUNTS = "", "counts"  # in place of a unit: without gravity, and the numbers that a sensor sends
SEVERAL = 0.1  # share of the time with gravity in a unit from which a recording has it, besides another one
FAR = 20  # times gravity, from which an acceleration can only be in counts
# What `unit_name` replaces in a unit; serve/web/channels.js does the same.
SPELLINGS = (("s-2", "/s2"), ("/s/s", "/s2"), ("/s2", "/s^2"), ("s-1", "/s"), ("°", "deg"), ("dps", "deg/s"))


def unit_name(unit: str) -> str:
    """Returns the usual spelling of a unit.

    >>> {unit_name(unit) for unit in ("m/s^2", "m/s2", "m/s²", "ms-2", "m s⁻²", "m·s^-2", "m/s**2")}
    {'m/s^2'}
    """
    plain = re.sub(r"[\s^*·⋅]", "", unicodedata.normalize("NFKC", unit).replace("\N{MINUS SIGN}", "-"))
    return functools.reduce(lambda name, pair: name.replace(*pair), SPELLINGS, plain)


def sensors_of(channels: Sequence[Channel]) -> dict[tuple[str, str, str], list[int]]:
    """Returns the indices of the channels of each sensor, {(group, site, unit): its channels}."""
    sensors: dict[tuple[str, str, str], list[int]] = {}
    for i, channel in enumerate(channels):
        sensors.setdefault((channel.group, channel.site, channel.unit), []).append(i)
    return sensors


def units_seen(channels: Sequence[Channel], values: np.ndarray, rate: float) -> dict[tuple[str, str, str], str]:
    """Returns the units that three axes of a sensor seem to have, {(group, site, stated unit): unit}.

    An acceleration has a unit if its mean over a second is near gravity in it for most of the time. It is `NONE` if
    this is far below gravity in the stated unit, as where a phone has subtracted it, and `COUNTS` if it is far above.
    A recording that has gravity in one unit at times and in another at others has 'g and m/s^2'.
    Rates of rotation beyond `FASTEST` are in deg/s. Other sensors are left out. The values are (t, c), NaN where
    missing, `rate` of them a second.
    """
    seen = {}
    for sensor, axes in sensors_of(channels).items():
        rows = values[:, axes].astype(np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(axes) != 3 or not len(rows):
            continue
        if (stated := unit_name(sensor[2])) in GRAVITY:
            first = np.arange(0, len(rows), max(round(rate), 1))
            means = np.add.reduceat(rows, first) / np.diff(first, append=len(rows))[:, None]
            sizes = np.linalg.norm(means, axis=1)
            shares = {unit: np.mean(np.abs(sizes / size - 1) < 0.15) for unit, size in GRAVITY.items()}
            if len(several := [unit for unit, share in shares.items() if share > SEVERAL]) > 1:
                seen[sensor] = " and ".join(several)
                continue
            low, middle, high = np.quantile(sizes, (0.25, 0.5, 0.75))
            for unit, size in {sensor[2]: GRAVITY[stated], **GRAVITY}.items():
                if low > 0.8 * size and 0.85 * size < middle < 1.15 * size and high < 1.25 * size:
                    seen[sensor] = unit
                    break
            else:
                if 0 < high < 0.5 * GRAVITY[stated]:
                    seen[sensor] = NONE
                elif low > FAR * GRAVITY[stated]:
                    seen[sensor] = COUNTS
        elif stated == "rad/s" and np.quantile(np.abs(rows), 0.99) > FASTEST:
            seen[sensor] = "deg/s"
    return seen


def doubts(seen: dict[tuple[str, str, str], str]) -> list[str]:
    """Returns a sentence for each sensor whose unit seems to be another than the stated one."""
    return [
        f"the values of {group} at {site} are as large as in {unit}, and their unit is {stated}; is that right?"
        for (group, site, stated), unit in seen.items()
        if unit not in (stated, NONE)
    ]
