"""Units that the size of signals contradicts."""

import numpy as np
import pytest

from dcdp_jax.data.recording import Channel
from dcdp_jax.data.units import COUNTS, NONE, OTHER, doubts, units_seen


def sensor(group, unit):
    return [Channel(f"{group}_{axis}", group, "hip", unit) for axis in "xyz"]


@pytest.mark.parametrize(
    ("unit", "size", "gravity", "seen"),
    [
        ("g", 1, 1, "g"),
        ("g", 9.81, 1, "m/s^2"),
        ("g", 1000, 1, "mg"),
        ("m/s^2", 9.81, 1, "m/s^2"),
        ("m/s2", 9.81, 1, "m/s2"),
        ("m s⁻²", 1, 1, "g"),
        ("m/s^2", 1, 1, "g"),
        ("m/s^2", 9.81, 0, NONE),  # linear acceleration
        ("g", 3, 1, OTHER),
        ("m/s^2", 4.9, 1, OTHER),
        ("g", 1.2, 1, None),
        ("g", 64, 1, COUNTS),
        ("g", 0, 1, None),
        ("counts", 1, 1, None),
    ],
)
def test_gravity_tells_the_unit(unit, size, gravity, seen):
    values = np.random.default_rng(0).normal([0, 0, gravity], 0.15, (500, 3))
    values[::7] = np.nan
    found = units_seen(sensor("acc", unit), size * values, 50.0)
    assert found == ({("acc", "hip", unit): seen} if seen is not None else {})
    assert len(doubts(found)) == (seen not in (unit, None, NONE))


def test_linear_acceleration_as_large_as_gravity_has_no_unit():
    """Of a runner, whose phone has subtracted gravity."""
    swing = 14 * np.sin(2 * np.pi * 2.8 * np.arange(1000) / 50)
    values = np.random.default_rng(0).normal(0, 1, (1000, 3)) + swing[:, None] * [0.2, 0.3, 0.93]
    assert units_seen(sensor("acc", "m/s^2"), values, 50.0) == {("acc", "hip", "m/s^2"): NONE}
    slow = np.repeat(np.random.default_rng(0).normal(0, 0.62, (200, 3)), 50, axis=0)  # about 1 m/s^2, and not always
    assert units_seen(sensor("acc", "m/s^2"), slow, 50.0) == {("acc", "hip", "m/s^2"): NONE}


@pytest.mark.parametrize(
    ("unit", "size", "seen"), [("deg/s", 1, "rad/s"), ("rad/s", 57.3, "deg/s"), ("deg/s", 57.3, None)]
)
def test_rates_of_rotation_of_a_device_that_moves_tell_their_unit(unit, size, seen):
    swing = np.sin(2 * np.pi * 2 * np.arange(1000) / 50)[:, None]
    walk = np.array([[0, 0, 9.81]]) + 4 * swing
    channels = sensor("gyro", unit) + sensor("acc", "m/s^2")
    turn = 0.5 * size * swing * [1, 0.5, 0.2]
    assert units_seen(channels, np.append(turn, walk, axis=1), 50.0).get(("gyro", "hip", unit)) == seen
    still = np.random.default_rng(0).normal([[0, 0, 9.81]], 0.1, (1000, 3))
    assert ("gyro", "hip", unit) not in units_seen(channels, np.append(0.02 * turn, still, axis=1), 50.0)


def test_gravity_in_two_units_in_one_recording():
    values = np.random.default_rng(0).normal([0, 0, 1], 0.15, (1000, 3))
    values[800:] *= 9.81
    assert units_seen(sensor("acc", "g"), values, 50.0) == {("acc", "hip", "g"): "g and m/s^2"}


@pytest.mark.parametrize(
    ("unit", "largest", "seen"), [("rad/s", 30, None), ("rad/s", 300, "deg/s"), ("deg/s", 300, None)]
)
def test_no_gyroscope_turns_so_fast(unit, largest, seen):
    values = largest * np.sin(np.arange(300.0)).reshape(100, 3)
    assert units_seen(sensor("gyro", unit), values, 50.0) == ({("gyro", "hip", unit): seen} if seen else {})
    assert units_seen(sensor("gyro", unit)[:2], values[:, :2], 50.0) == {}
    assert units_seen(sensor("gyro", unit), values * np.nan, 50.0) == {}
