"""Devices on the other side of the body: signs of channels against a mirrored motion, in NumPy float64."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dcdp_jax.data.datasets import DATASETS
from dcdp_jax.data.recording import Channel
from dcdp_jax.data.vectors import mirror_signs
from dcdp_jax.errors import ConfigError

GROUPS = {"acc": "g", "gyro": "rad/s", "mag": "uT"}
CHANNELS = tuple(Channel(f"{group}_{axis}", group, "wrist", unit) for group, unit in GROUPS.items() for axis in "xyz")
STEP = 1e-4  # seconds


def orientation_and_place(t):
    """A smooth motion: (n, 3, 3) from the device to the room, whose third axis is up, and (n, 3) meters."""
    angles = np.stack([np.sin(1.3 * t), 0.7 * t + 0.3 * np.cos(2.1 * t), 0.9 * np.sin(0.4 * t + 1)], axis=1)
    place = np.stack([np.sin(2 * t), 0.3 * t + np.cos(3 * t), 0.1 * np.sin(5 * t)], axis=1)
    return Rotation.from_euler("xyz", angles).as_matrix(), place


def measure(motion, t, field):
    """What an accelerometer, a gyroscope and a magnetometer of a moving device measure, (n, 9), by differences."""
    (turned, place), (before, past), (after, ahead) = (motion(t + shift) for shift in (0, -STEP, STEP))
    acceleration = (ahead - 2 * place + past) / STEP**2 + [0, 0, 9.81]
    turning = np.einsum("nji,njk->nik", turned, (after - before) / (2 * STEP))
    rate = np.stack([turning[:, 2, 1], turning[:, 0, 2], turning[:, 1, 0]], axis=1)
    return np.concatenate([np.einsum("nji,nj->ni", turned, acceleration), rate, field @ turned], axis=1)


@pytest.mark.parametrize("axis", "xyz")
def test_signs_are_those_of_a_mirrored_motion(axis):
    t, mirror = np.linspace(0, 5, 40), np.diag([-1.0, 1.0, 1.0])
    reflected = np.diag([-1.0 if a == axis else 1.0 for a in "xyz"])

    def mirrored(t):
        turned, place = orientation_and_place(t)
        return mirror @ turned @ reflected, place @ mirror

    assert np.allclose(np.linalg.det(mirrored(t)[0]), 1)
    field = np.array([15.0, 20.0, -40.0])
    own, other = measure(orientation_and_place, t, field), measure(mirrored, t, mirror @ field)
    signs = mirror_signs(CHANNELS, {"wrist": axis}, "test")
    np.testing.assert_allclose(own * signs, other, atol=1e-4)
    assert np.abs(own - other)[:, np.array(signs) < 0].max(axis=0).min() > 0.5


def test_a_vertical_angular_velocity_changes_its_sign():
    channels = [
        Channel(f"{group}_{part}", group, "wrist", "1")
        for group in ("acc", "gyro")
        for part in ("vertical", "horizontal")
    ]
    assert mirror_signs([*channels, Channel("heart_rate", "heart_rate", "chest", "bpm")], {}, "test") == (
        1,
        1,
        -1,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("channels", "axes", "message"),
    [
        (
            CHANNELS,
            {"waist": "x"},
            "test: which axis is reflected at 'wrist' is not known; give it as augment.mirror",
        ),
        (
            CHANNELS[1:],
            {"wrist": "x"},
            "test: acc_y depends on the orientation of its device and is no part of a v",
        ),
    ],
)
def test_what_cannot_be_mirrored_is_named(channels, axes, message):
    with pytest.raises(ConfigError) as raised:
        mirror_signs(channels, axes, "test")
    assert message in str(raised.value)


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if spec.mirror])
def test_axes_of_data_sets_are_those_of_their_sites(name):
    spec = DATASETS[name]
    assert set(spec.mirror) == {channel.site for channel in spec.channels}
    assert min(mirror_signs(spec.channels, spec.mirror, name)) == -1
