"""Compares the stated units of signals with what sensors can measure: gravity, and no rotation beyond their range."""

import functools
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from dcdp_jax.data.recording import Channel

GRAVITY = {"g": 1.0, "m/s^2": 9.80665, "mg": 1000.0}  # in each unit
ROTATION = ("rad/s", "deg/s")
KNOWN = {*GRAVITY, *ROTATION}
FASTEST = 35.0  # rad/s, the range of most gyroscopes: 2000 degrees a second
# The usual rate of a device that moves is at most 3.4 in rad/s and at least 11 in deg/s in the recordings at hand.
TURNING = 6.0
MOVING = 0.1  # standard deviation of the acceleration's size within a second, to its mean, of a device that moves
FEWEST_SECONDS = 5  # of movement, from which rates of rotation are judged
# In place of a unit: without gravity, the numbers that a sensor sends, and gravity of another size than in any unit.
NONE, COUNTS, OTHER = "", "counts", "another scale"
SEVERAL = 0.1  # share of the time with gravity in a unit from which a recording has it, besides another one
FAR = 20  # times gravity, from which an acceleration can only be in counts
# What `unit_name` replaces in a unit; serve/web/channels.js does the same.
SPELLINGS = (
    *(("second", "s"), ("sec", "s"), ("radians", "rad"), ("°", "deg"), ("degrees", "deg"), ("dps", "deg/s")),
    *(("s-2", "/s2"), ("/s/s", "/s2"), ("/s2", "/s^2"), ("s-1", "/s")),
)
WHOLE = {"G": "g", "mG": "mg"}  # and whole units


def unit_name(unit: str) -> str:
    """Returns the usual spelling of a unit.

    >>> {unit_name(unit) for unit in ("m/s^2", "m/s2", "m/s²", "ms-2", "m s⁻²", "m·s^-2", "m/s**2")}
    {'m/s^2'}
    >>> [unit_name(unit) for unit in ("deg/sec", "degrees/second", "°/s", "radians/s", "m/sec^2", "G")]
    ['deg/s', 'deg/s', 'deg/s', 'rad/s', 'm/s^2', 'g']
    """
    plain = re.sub(r"[\s^*·⋅]", "", unicodedata.normalize("NFKC", unit).replace("\N{MINUS SIGN}", "-"))
    usual = functools.reduce(lambda name, pair: name.replace(*pair), SPELLINGS, plain)
    return WHOLE.get(usual, usual)


def sensors_of(channels: Sequence[Channel]) -> dict[tuple[str, str, str], list[int]]:
    """Returns the indices of the channels of each sensor, {(group, site, unit): its channels}."""
    sensors: dict[tuple[str, str, str], list[int]] = {}
    for i, channel in enumerate(channels):
        sensors.setdefault((channel.group, channel.site, channel.unit), []).append(i)
    return sensors


def units_seen(channels: Sequence[Channel], values: np.ndarray, rate: float) -> dict[tuple[str, str, str], str]:
    """Returns the units that three axes of a sensor seem to have, {(group, site, stated unit): unit}.

    See `acceleration_unit` and `rotation_unit`. Other sensors, and those whose unit cannot be told, are left out. The
    values are (t, c), NaN where missing, `rate` of them a second.
    """
    second = max(round(rate), 1)
    signals = {sensor: values[:, axes] for sensor, axes in sensors_of(channels).items() if len(axes) == 3}
    seen = {
        sensor: acceleration_unit(rows, sensor[2], second)
        for sensor, rows in signals.items()
        if unit_name(sensor[2]) in GRAVITY
    }
    moved = {site: signals[group, site, stated] for (group, site, stated), unit in seen.items() if has_gravity(unit)}
    seen |= {
        sensor: rotation_unit(rows, moved.get(sensor[1]), sensor[2], second)
        for sensor, rows in signals.items()
        if unit_name(sensor[2]) in ROTATION
    }
    return {sensor: unit for sensor, unit in seen.items() if unit is not None}


def has_gravity(unit: str | None) -> bool:
    """Returns whether `acceleration_unit` has found gravity in one unit."""
    return unit is not None and unit_name(unit) in GRAVITY


def acceleration_unit(values: np.ndarray, stated: str, second: int) -> str | None:
    """Returns the unit of (t, 3) accelerations, `second` of them a second, or None.

    It is one in which their mean over a second is near gravity for most of the time; of a recording that has gravity in
    one unit at times and in another at others, 'g and m/s^2'. It is `NONE` if the mean is far below gravity in the
    stated unit, as where a phone has subtracted it, `COUNTS` if it is far above, and `OTHER` if it is always as far
    from gravity.
    """
    rows = values[np.isfinite(values).all(axis=1)].astype(np.float64)
    if not len(rows):
        return None
    first = np.arange(0, len(rows), second)
    sizes = np.linalg.norm(np.add.reduceat(rows, first) / np.diff(first, append=len(rows))[:, None], axis=1)
    shares = {unit: np.mean(np.abs(sizes / size - 1) < 0.15) for unit, size in GRAVITY.items()}
    if len(several := [unit for unit, share in shares.items() if share > SEVERAL]) > 1:
        return " and ".join(several)
    low, middle, high = np.quantile(sizes, (0.25, 0.5, 0.75))
    usual = GRAVITY[unit_name(stated)]
    for unit, size in {stated: usual, **GRAVITY}.items():
        if low > 0.8 * size and 0.85 * size < middle < 1.15 * size and high < 1.25 * size:
            return unit
    if low > FAR * usual:
        return COUNTS
    if low > 0.2 * usual and high < 1.25 * low and not 0.7 * usual < middle < 1.4 * usual:
        return OTHER
    return NONE if 0 < high < 0.5 * usual else None


def rotation_unit(values: np.ndarray, moved: np.ndarray | None, stated: str, second: int) -> str | None:
    """Returns the unit of (t, 3) rates of rotation, `second` of them a second, if it is not the stated one, or None.

    Rates beyond `FASTEST` are in deg/s. Where the (t, 3) accelerations of the same device show that it moves, rates are
    usually beyond `TURNING` in deg/s, and below it in rad/s.
    """
    rows = values[np.isfinite(values).all(axis=1)]
    if len(rows) and unit_name(stated) == "rad/s" and np.quantile(np.abs(rows), 0.99) > FASTEST:
        return "deg/s"
    if moved is None:
        return None
    both = np.append(moved, values, axis=1).astype(np.float64)
    both = both[np.isfinite(both).all(axis=1)]
    parts = both[: len(both) // second * second].reshape(-1, second, 6)
    sizes = np.linalg.norm(parts[:, :, :3], axis=2)
    parts = parts[sizes.std(axis=1) > MOVING * sizes.mean(axis=1)]
    if len(parts) < FEWEST_SECONDS:
        return None
    turned = np.median(np.abs(parts[:, :, 3:]).max(axis=2))
    unit = "deg/s" if turned > TURNING else "rad/s"
    return unit if turned > 0 and unit != unit_name(stated) else None


def doubts(seen: dict[tuple[str, str, str], str]) -> list[str]:
    """Returns a sentence for each sensor whose unit seems to be another than the stated one."""
    notes = []
    for (group, site, stated), unit in seen.items():
        if unit == OTHER:
            notes.append(
                f"the values of {group} at {site} have gravity, but of another size than in any unit; is the range of "
                "the sensor right?"
            )
        elif unit not in (stated, NONE):
            notes.append(
                f"the values of {group} at {site} are as large as in {unit}, and their unit is {stated}; is that right?"
            )
    return notes
