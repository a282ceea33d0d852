"""Rotations of devices: which channels are vectors, and the distributions of the matrices."""

import numpy as np
import pytest
from scipy import stats

from dcdp_jax.data.datasets import (
    dsads,
    hapt,
    harth,
    mhealth,
    motionsense,
    opportunity,
    pamap2,
    realworld,
    synthetic,
    uci_har,
    usc_had,
    wisdm,
)
from dcdp_jax.data.recording import Channel, Recording
from dcdp_jax.data.vectors import accelerations_of, devices_of
from dcdp_jax.data.views import view_recording
from dcdp_jax.train.rotation import keep_axes, rotate, rotation_matrices

# Two devices: one with an accelerometer and a gyroscope, one with an accelerometer; and a channel that is no vector.
CHANNELS = (
    Channel("heart_rate", "heart_rate", "chest", "bpm"),
    *(Channel(f"hand_{group}_{axis}", group, "hand", unit) for group, unit in (("acc", "g"), ("gyro", "rad/s"))
      for axis in "xyz"),
    *(Channel(f"foot_acc{axis}", "acc", "foot", "g") for axis in "ZXY"),
)  # fmt: skip
DEVICES = (((1, 2, 3), (4, 5, 6)), ((8, 9, 7),))
ACCELERATIONS = ((1, 2, 3), (8, 9, 7))
SIZES = {
    "uci_har": (uci_har.CHANNELS, [3]),
    "hapt": (hapt.CHANNELS, [2]),
    "wisdm": (wisdm.CHANNELS, [1]),
    "pamap2": ((*pamap2.CHANNELS, pamap2.HEART_RATE_CHANNEL), [4, 4, 4]),
    "dsads": (dsads.CHANNELS, [3] * 5),
    "mhealth": (mhealth.CHANNELS, [1, 3, 3]),
    "harth": (harth.CHANNELS, [1, 1]),
    "motionsense": (motionsense.CHANNELS, [3]),
    "usc_had": (usc_had.CHANNELS, [2]),
    "realworld": (realworld.CHANNELS, [2]),
    "synthetic": (synthetic.CHANNELS, [2] * 3),
    # Bluetooth accelerometers, jacket units, shoes without their Euler angles and compass.
    "opportunity": (opportunity.CHANNELS, [1] * 12 + [3] * 5 + [4] * 2),
}


def angles(a, b):
    """Between vectors (..., 3), in degrees, in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1)))


def random_rotations(n):
    return np.asarray(rotation_matrices(np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)))


@pytest.mark.parametrize("name", SIZES)
def test_vectors_of_every_data_set(name):
    channels, expected = SIZES[name]
    devices = devices_of(channels)
    assert sorted(map(len, devices)) == sorted(expected)
    used = [i for triples in devices for triple in triples for i in triple]
    assert len(used) == len(set(used))
    for triples in devices:
        assert len({channels[i].site for triple in triples for i in triple}) == 1
        for triple in triples:
            assert [channels[i].name[-1].lower() for i in triple] == ["x", "y", "z"]
            assert len({(channels[i].name[:-1], channels[i].group, channels[i].unit) for i in triple}) == 1
    left = {c.group for i, c in enumerate(channels) if i not in used}
    assert left <= {"heart_rate", "orientation"}


@pytest.mark.parametrize(("view", "vectors"), [("raw", 1), ("derived", 3), ("mirror", 2), ("axis", 1)])
def test_vectors_of_views(view, vectors):
    recording = Recording(
        np.zeros((50, 3), np.float32), np.zeros(50, np.int32), 1, "1", wisdm.RATE, tuple(wisdm.CHANNELS)
    )
    (triples,) = devices_of(view_recording(recording, view).channels)
    assert triples == tuple((3 * i, 3 * i + 1, 3 * i + 2) for i in range(vectors))


def test_what_is_no_vector():
    assert devices_of(CHANNELS) == DEVICES

    def three(names, group="acc", sites=("a", "a", "a"), units=("g", "g", "g")):
        return [Channel(name, group, site, unit) for name, site, unit in zip(names, sites, units, strict=True)]

    assert devices_of(three(["ax", "ay", "az"])) == (((0, 1, 2),),)
    assert devices_of(three(["ax", "ay", "bz"])) == ()
    assert devices_of(three(["ax", "aY", "az"])) == ()
    assert devices_of(three(["ax", "ay", "az"], sites="aab")) == ()
    assert devices_of(three(["ax", "ay", "az"], units=("g", "g", "m/s^2"))) == ()
    assert devices_of(three(["ax", "ay", "az"], units=("deg",) * 3)) == ()
    assert devices_of(three(["qx", "qy", "qz"], group="orientation", units=("1",) * 3)) == ()
    assert devices_of(three(["ax", "ay", "az"])[:2]) == ()


@pytest.mark.parametrize("name", SIZES)
def test_accelerations_of_every_data_set(name):
    channels, expected = SIZES[name]
    vectors = accelerations_of(channels, devices_of(channels), "", "")
    assert len(vectors) == len(expected)
    assert {channels[i].group for triple in vectors for i in triple} == {"acc"}
    # Those with gravity, not `body_acc` and `user_acc`.
    if stem := {"uci_har": "total_acc_", "motionsense": "gravity_"}.get(name):
        assert [channels[i].name for i in vectors[0]] == [f"{stem}{axis}" for axis in "xyz"]


def test_rotations_are_uniform():
    R = random_rotations(4000).astype(np.float64)
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), R.shape), atol=3e-6)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=3e-6)
    # Under the uniform distribution every entry is uniform from -1 to 1, and an angle has density (1 - cos) / pi.
    for i in range(3):
        for j in range(3):
            assert stats.kstest(R[:, i, j], stats.uniform(-1, 2).cdf).pvalue > 1e-3
    angle = np.arccos(np.clip((np.trace(R, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert stats.kstest(angle, lambda a: (a - np.sin(a)) / np.pi).pvalue > 1e-3


def test_every_vector_turns_by_the_matrix_of_its_device():
    x = np.random.default_rng(1).normal(size=(30, len(CHANNELS))).astype(np.float32)
    R = random_rotations(2)
    expected = x.copy()
    for matrix, triples in zip(R, DEVICES, strict=True):
        for triple in triples:
            expected[:, triple] = x[:, triple].astype(np.float64) @ matrix.astype(np.float64).T
    found = np.asarray(rotate(x, R, DEVICES))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found[:, 0], x[:, 0])
    np.testing.assert_array_equal(rotate(x, np.stack([np.eye(3, dtype=np.float32)] * 2), DEVICES), x)


@pytest.mark.parametrize("tilt", [0.0, 5.0, 90.0])
def test_rotations_keep_an_axis_within_the_tilt(tilt):
    rng = np.random.default_rng(1)
    normals = rng.normal(size=(4000, 4)).astype(np.float32)
    axes = rng.normal(size=(4000, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    R = np.asarray(rotation_matrices(keep_axes(normals, axes.astype(np.float32), tilt)), np.float64)
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), R.shape), atol=3e-6)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=3e-6)
    rotated = np.einsum("nij,nj->ni", R, axes)
    tilts = angles(axes, rotated)
    assert tilts.max() <= tilt + 1e-4
    if tilt:
        # Uniform on the cap: 1 - cos is uniform.
        assert stats.kstest((1 - np.cos(np.radians(tilts))) / (1 - np.cos(np.radians(tilt))), "uniform").pvalue > 1e-3
    # The turn about the axis: undo the tilt by the shortest rotation, and what remains has the trace of a turn.
    cross = np.cross(rotated, axes)
    K = np.cross(np.eye(3)[None], cross[:, None])
    shortest = np.eye(3) + K + K @ K / (1 + (rotated * axes).sum(axis=1))[:, None, None]
    np.testing.assert_allclose(np.einsum("nij,nj->ni", shortest, rotated), axes, atol=1e-5)
    turn = np.arccos(np.clip((np.trace(shortest @ R, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert stats.kstest(turn / np.pi, "uniform").pvalue > 1e-3


def test_tilt_of_half_a_turn_is_any_rotation():
    normals = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
    axes = np.tile(np.array([0.6, 0.0, -0.8], np.float32), (100, 1))
    found = rotation_matrices(keep_axes(normals, axes, 180.0))
    np.testing.assert_allclose(found, rotation_matrices(normals), atol=1e-5)
