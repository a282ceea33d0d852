"""Augmentation: against NumPy with the same draws, what must stay as it is, and the same on any number of devices."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from configs import default
from dcdp_jax.config import check_config
from dcdp_jax.data.vectors import mirror_signs
from dcdp_jax.errors import ConfigError
from dcdp_jax.losses import total_loss
from dcdp_jax.models.multipath import Outputs
from dcdp_jax.train.augment import (
    STREAM,
    Augmentation,
    apply,
    augment,
    build_augmentation,
    draw,
    interpolate,
    permute,
    warp,
)
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepSettings, gather_windows, train_step, training_windows, window_keys
from tests.optim.chains import make_chain
from tests.train.test_rotation import ACCELERATIONS, CHANNELS, DEVICES, angles

T, C, BATCH = 30, len(CHANNELS), 56
SHIFT = np.linspace(-1, 2, C, dtype=np.float32)
SCALE = np.linspace(0.5, 3, C, dtype=np.float32)
FULL = Augmentation(0.5, 0.05, 0.1, DEVICES, 0.2, 4, 4)
NOTHING = Augmentation(1.0, 0.0, 0.0, (), 0.0, 4, 1)


def keys_of(n):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(n))


@functools.cache
def drawn(augmentation, n=4000, t=T, c=C):
    """The draws of `augment` for `keys_of`, as many as there are."""

    def one(key):
        return draw(jax.random.fold_in(key, STREAM), augmentation, t, c)

    return jax.device_get(jax.jit(jax.vmap(one))(keys_of(n)))


@functools.cache
def augmented(augmentation):
    """`augment`, compiled once for each shape that the tests below share."""
    return jax.jit(lambda x, keys: augment(x, keys, augmentation, SHIFT, SCALE))


@pytest.fixture(scope="module")
def windows():
    return np.cumsum(np.random.default_rng(0).normal(size=(BATCH, T, C)), axis=1).astype(np.float32)


# Each change, against NumPy.


def test_rotation_leaves_gravity_its_norm():
    """At rest, in m/s^2: before normalisation, whatever the statistics are."""
    rng = np.random.default_rng(0)
    x = np.zeros((BATCH, T, C), np.float32)
    directions = rng.normal(size=(BATCH, 3))
    x[..., 1:4] = 9.81 * (directions / np.linalg.norm(directions, axis=1, keepdims=True))[:, None]
    turned = augmented(NOTHING._replace(devices=DEVICES))(x, keys_of(BATCH))
    raw = np.asarray(turned) / SCALE + SHIFT
    assert np.abs(raw - x).max() > 1
    np.testing.assert_allclose(np.linalg.norm(raw[..., 1:4], axis=-1), 9.81, rtol=1e-5)


def test_gravity_keeps_the_direction_of_the_mean_acceleration(windows):
    """And all vectors of a device turn by the same matrix: angles between them stay."""
    kept = NOTHING._replace(devices=DEVICES, accelerations=ACCELERATIONS, rotation_tilt=5.0)
    raw = np.asarray(augmented(kept)(windows, keys_of(BATCH)), np.float64) / SCALE + SHIFT
    x = windows.astype(np.float64)
    for triple in ACCELERATIONS:
        moved = angles(x[..., triple].mean(axis=1), raw[..., triple].mean(axis=1))
        assert 2 < moved.max() < 5 + 1e-3
        assert angles(x[..., triple], raw[..., triple]).max() > 90
        np.testing.assert_allclose(np.linalg.norm(raw[..., triple], axis=-1), np.linalg.norm(x[..., triple], axis=-1),
                                   rtol=1e-4, atol=1e-4)  # fmt: skip
    dots = [(y[..., 1:4] * y[..., 4:7]).sum(axis=-1) for y in (raw, x)]
    np.testing.assert_allclose(*dots, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(raw[..., 0], x[..., 0], atol=1e-5)


def test_a_mean_of_zero_is_rotated_all_the_same(windows):
    still = windows.copy()
    still[..., 1:4] = 0
    kept = NOTHING._replace(devices=DEVICES, accelerations=ACCELERATIONS)
    raw = np.asarray(augmented(kept)(still, keys_of(BATCH))) / SCALE + SHIFT
    assert angles(windows[..., 4:7], raw[..., 4:7]).max() > 90
    np.testing.assert_allclose(raw[..., 1:4], 0, atol=1e-6)


def test_a_share_of_the_windows_is_mirrored(windows):
    signs = mirror_signs(CHANNELS, {"hand": "y", "foot": "z"}, "")
    assert signs == (1, 1, -1, 1, -1, 1, -1, -1, 1, 1)
    raw = (
        np.asarray(augmented(NOTHING._replace(mirror=0.4, mirror_signs=signs))(windows, keys_of(BATCH))) / SCALE + SHIFT
    )
    mirrored = np.abs(raw - windows).max(axis=(1, 2)) > 0.1
    expected = np.where(mirrored[:, None, None], windows * np.array(signs, np.float32), windows)
    np.testing.assert_allclose(raw, expected, atol=1e-4)
    assert 0.2 < mirrored.mean() < 0.6  # of 56


@pytest.mark.parametrize("t", [2, 5, T, 171])
def test_warp_is_the_integral_of_its_speed(t):
    speeds = np.array([0.7, 1.3, -0.5, 1.0, 1.6, 0.9], np.float32)
    found = np.asarray(warp(jnp.asarray(speeds), t))
    knots = np.linspace(0, t - 1, 6)
    v = np.interp(np.arange(t), knots, np.maximum(speeds, 0.1))
    expected = np.array([np.trapezoid(v[: i + 1]) for i in range(t)])
    np.testing.assert_allclose(found, expected / expected[-1] * (t - 1), atol=1e-5 * t)
    assert found[0] == 0
    assert (np.diff(found) > 0).all()


def test_constant_speed_warps_nothing():
    np.testing.assert_allclose(warp(jnp.full(6, 1.7), T), np.arange(T), atol=1e-5)


@pytest.mark.parametrize(("t", "segments"), [(4, 4), (30, 4), (31, 4), (33, 4), (171, 7), (5, 1)])
def test_permutation_moves_whole_segments(t, segments):
    parts = np.split(np.arange(t), [i * t // segments for i in range(1, segments)])
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(segments)
        np.testing.assert_array_equal(permute(jnp.asarray(order), t), np.concatenate([parts[i] for i in order]))


def test_interpolation(windows):
    positions = np.random.default_rng(1).uniform(0, T - 1, 50).astype(np.float32)
    expected = np.stack([np.interp(positions, np.arange(T), column) for column in windows[0].T], axis=1)
    np.testing.assert_allclose(interpolate(windows[0], jnp.asarray(positions)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(interpolate(windows[0], jnp.arange(T, dtype=jnp.float32)), windows[0])


def test_all_of_it_in_this_order(windows):
    """Rotation, time map, normalisation, scaling, jitter; from the draws of the same keys."""
    found = augmented(FULL)(windows, keys_of(BATCH))
    for i, (x, result) in enumerate(zip(windows, found, strict=True)):
        draws = jax.tree.map(lambda values, i=i: values[i], drawn(FULL))
        expected = x.astype(np.float64)
        for matrix, triples in zip(draws.rotations, DEVICES, strict=True):
            for triple in triples:
                expected[:, triple] = expected[:, triple] @ matrix.T
        expected = np.stack([np.interp(draws.positions, np.arange(T), column) for column in expected.T], axis=1)
        expected = (expected - SHIFT) * SCALE * draws.factors + draws.noise
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=5e-5)


# The draws.


def test_statistics_of_the_draws():
    draws = drawn(FULL)
    got = np.stack(
        [
            np.abs(draws.rotations - np.eye(3)).max(axis=(1, 2, 3)) > 0,
            (draws.positions % 1).max(axis=1) > 1e-3,
            (np.diff(draws.positions) < 0).any(axis=1),
            (draws.factors != 1).all(axis=1),
            (draws.noise != 0).any(axis=(1, 2)),
        ]
    )
    # One order of four segments in 24 changes nothing.
    expected = 0.5 * np.array([1, 1, 23 / 24, 1, 1])
    np.testing.assert_allclose(got.mean(axis=1), expected, atol=4 * 0.5 / np.sqrt(4000))
    correlation = np.corrcoef(got)
    assert np.abs(correlation - np.eye(5)).max() < 4 / np.sqrt(4000)
    factors = draws.factors[got[3]]
    assert factors.std() == pytest.approx(0.1, rel=0.03)
    assert factors.mean() == pytest.approx(1, abs=0.003)
    noise = draws.noise[got[4]]
    assert noise.std() == pytest.approx(0.05, rel=0.01)
    assert abs(np.corrcoef(noise[:, 0].T)[0, 1]) < 0.1
    np.testing.assert_array_equal(draws.factors[~got[3]], 1)
    np.testing.assert_array_equal(draws.noise[~got[4]], 0)
    assert (draws.positions[~got[1] & ~got[2]] == np.arange(T)).all()


def test_speed_of_time_varies_by_sigma():
    positions = drawn(NOTHING._replace(time_warp_sigma=0.05), t=121).positions
    assert (np.diff(positions) > 0).all()
    # With knots 24 samples apart; the mean over the window, by which the map is divided, takes some of it away.
    speed = np.diff(positions)[:, 47]
    assert speed.mean() == pytest.approx(1, abs=0.005)
    assert 0.04 < speed.std() < 0.05


def test_all_orders_of_segments_are_drawn_alike():
    positions = drawn(NOTHING._replace(permutation_segments=3), t=6).positions
    _, counts = np.unique(positions, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("off", "changed"),
    [
        ({"jitter_sigma": 0.0}, "noise"),
        ({"scaling_sigma": 0.0}, "factors"),
        ({"devices": ()}, "rotations"),
        ({"time_warp_sigma": 0.0}, "positions"),
        ({"permutation_segments": 1}, "positions"),
    ],
)
def test_one_switched_off_leaves_the_draws_of_the_others(off, changed):
    """One key that draws all five, not compiled: faster for a single window."""
    key = jax.random.key(0)
    with_all = draw(key, FULL._replace(probability=1.0), T, C)
    without = draw(key, FULL._replace(probability=1.0, **off), T, C)
    for name in with_all._fields:
        same = np.array_equal(getattr(with_all, name), getattr(without, name))
        assert same == (name != changed)


def test_keys_are_not_those_of_dropout():
    keys = keys_of(4)
    mine = jax.vmap(lambda key: jax.random.fold_in(key, STREAM))(keys)
    found = {tuple(key) for key in np.concatenate([jax.random.key_data(keys), jax.random.key_data(mine)])}
    assert len(found) == 8


# What must stay.


def test_time_map_is_the_same_for_all_channels(windows):
    """The branches read different channels of one array, so equal channels must stay equal."""
    x = np.repeat(windows[..., :1], C, axis=-1)
    time_only = NOTHING._replace(time_warp_sigma=0.2, permutation_segments=4)
    found = np.asarray(augmented(time_only)(x, keys_of(BATCH))) / SCALE + SHIFT
    assert np.abs(found - x).max() > 1
    for c in range(1, C):
        np.testing.assert_allclose(found[..., c], found[..., 0], atol=1e-5)


def test_shapes_dtypes_and_no_surprise_promotion(windows, strict_types):
    found = augmented(FULL)(windows, keys_of(BATCH))
    assert (found.shape, found.dtype) == (windows.shape, windows.dtype)
    shortest = jax.eval_shape(augmented(FULL), windows[:, :4], keys_of(BATCH))
    assert shortest.shape == (BATCH, 4, C)


def test_time_never_runs_back_or_out_of_the_window():
    speeds = 1 + 100 * np.random.default_rng(0).normal(size=(20, 42)).astype(np.float32)
    for positions in map(np.asarray, jax.vmap(lambda v: warp(v, T))(speeds)):
        assert (np.diff(positions) > 0).all()
        assert positions[0] == 0
        assert T - 1.0001 < positions[-1] <= T - 1


def test_nothing_drawn_is_nothing_changed(windows):
    draws = draw(jax.random.key(0), FULL._replace(probability=0.0), T, C)
    x = apply(windows[0], draws, DEVICES, SHIFT, SCALE)
    np.testing.assert_allclose(x, (windows[0] - SHIFT) * SCALE, rtol=1e-6)


# In the step.

SEED = 3
SETTINGS = StepSettings(T, 0.7, 0.5, 0.0, FULL)
KEEPS_GRAVITY = SETTINGS._replace(augmentation=FULL._replace(accelerations=ACCELERATIONS))


@pytest.fixture(scope="module")
def signals():
    values = np.cumsum(np.random.default_rng(2).normal(size=(2000, C)), axis=0).astype(np.float32)
    return Signals(values, values.mean(axis=0), 1 / values.std(axis=0))


def batch_of(seed):
    rng = np.random.default_rng(seed)
    return {
        "starts": rng.integers(0, 2000 - T, BATCH).astype(np.int32),
        "labels": rng.integers(0, 4, BATCH).astype(np.int32),
    }


@functools.cache
def mapped_windows(count, settings):
    """The windows of a step (signals, starts, step), as these devices make them."""

    def see(signals, starts, step):
        return training_windows(signals, starts, window_keys(SEED, step, starts.shape[0], AXIS), settings)

    return jax.pmap(see, axis_name=AXIS, in_axes=(None, 0, None), devices=Devices(count).devices)


def windows_in_step(count, signals, settings, step=5):
    starts = Devices(count).shard(batch_of(0))["starts"]
    found = mapped_windows(count, settings)(signals, starts, jnp.int32(step))
    return np.asarray(found).reshape(BATCH, T, C)


@pytest.mark.parametrize(("settings", "counts"), [(SETTINGS, (7, 8)), (KEEPS_GRAVITY, (7,))])
def test_windows_are_the_same_on_any_number_of_devices(settings, counts, signals):
    one = windows_in_step(1, signals, settings)
    for count in counts:
        np.testing.assert_allclose(windows_in_step(count, signals, settings), one, rtol=1e-5, atol=1e-5)


def test_windows_depend_on_the_step_and_are_repeated(signals):
    first = windows_in_step(1, signals, SETTINGS)
    np.testing.assert_array_equal(windows_in_step(1, signals, SETTINGS), first)
    assert np.abs(windows_in_step(1, signals, SETTINGS, step=6) - first).max() > 0.1


def test_off_is_exactly_the_plain_windows(signals):
    starts = batch_of(0)["starts"]
    plain = jax.jit(lambda s, i: gather_windows(s, i, T))(signals, starts)
    np.testing.assert_array_equal(windows_in_step(1, signals, SETTINGS._replace(augmentation=None)), plain)


class Linear(nn.Module):
    """A model that every sample of a window matters to, and that compiles in a second."""

    @nn.compact
    def __call__(self, x, **_):
        self.variable("batch_stats", "none", jnp.zeros, ())
        branches = {"res": x[..., :4], "dense": x[..., 4:]}
        h = {name: nn.Dense(8, name=name)(part.reshape(len(x), -1)) for name, part in branches.items()}
        logits = {name: part[:, :4] for name, part in h.items()}
        return Outputs(logits["res"] + logits["dense"], logits, h, [h])


def test_two_training_steps_agree_on_one_and_seven_devices(signals):
    """And the first loss is that of the augmented windows under the labels of the batch, computed by hand."""
    model = Linear()
    optimizer = make_chain(weight_decay=0.01)
    state = create_state(model, optimizer, SEED, T, C)
    losses_of, states = {}, {}
    for count in (1, 7):
        devices = Devices(count)
        step = devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=SETTINGS)
        now, on_device, losses_of[count] = devices.replicate(state), devices.replicate(signals), []
        for seed in (0, 1):
            now, metrics = step(now, on_device, devices.shard(batch_of(seed)))
            losses_of[count].append(float(metrics["loss"]["total"]))
        states[count] = jax.device_get(now.params)
    np.testing.assert_allclose(losses_of[7], losses_of[1], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), states[7], states[1])

    x = windows_in_step(1, signals, SETTINGS, step=0)
    outputs = model.apply({"params": state.params, "batch_stats": state.batch_stats}, x)
    heads = (outputs.fusion, outputs.branches, outputs.embeddings, outputs.stages)
    by_hand, _ = total_loss(*heads, jnp.asarray(batch_of(0)["labels"]), align_weight=0.7, temperature=0.5)
    assert float(by_hand) == pytest.approx(losses_of[1][0], rel=1e-5)


# In the config.


def config_with(**fields):
    config = default.get_config()
    config.data.name, config.augment.enabled = "synthetic", True
    for name, value in fields.items():
        config.augment[name] = value
    return config


def test_config_to_settings():
    assert build_augmentation(default.get_config().augment, CHANNELS, {}) is None
    assert build_augmentation(config_with().augment, CHANNELS, {}) == FULL
    assert build_augmentation(config_with(rotation=False).augment, CHANNELS[:3], {}) == FULL._replace(devices=())
    with pytest.raises(ConfigError, match=r"augment\.rotation=True, .*hand_acc_y.*augment\.rotation=False"):
        build_augmentation(config_with().augment, CHANNELS[:3], {})
    gravity = config_with(rotation_kind="gravity", rotation_tilt=3.0).augment
    assert build_augmentation(gravity, CHANNELS, {}) == FULL._replace(accelerations=ACCELERATIONS, rotation_tilt=3.0)
    with pytest.raises(ConfigError, match=r"rotation_kind='gravity' needs .*'hand' has none; .*kind=uniform, or .*"):
        build_augmentation(gravity, [CHANNELS[0], *CHANNELS[4:]], {})
    axes = {"hand": "y", "foot": "z"}
    mirrored = FULL._replace(mirror=0.5, mirror_signs=mirror_signs(CHANNELS, axes, ""))
    assert build_augmentation(config_with(mirror=0.5).augment, CHANNELS, axes) == mirrored
    with pytest.raises(ConfigError, match=r"augment\.mirror above 0: which axis is reflected at 'hand', 'foot' is"):
        build_augmentation(config_with(mirror=0.5).augment, CHANNELS, {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("probability", 1.5),
        ("probability", float("nan")),
        ("jitter_sigma", -0.1),
        ("scaling_sigma", float("inf")),
        ("time_warp_sigma", -1.0),
        ("time_warp_knots", 0),
        ("permutation_segments", 0),
        ("permutation_segments", 129),
        ("rotation_kind", "yaw"),
        ("rotation_tilt", 181.0),
    ],
)
def test_bad_fields_are_named(field, value):
    check_config(config_with())
    with pytest.raises(ConfigError, match=rf"augment\.{field}"):
        check_config(config_with(**{field: value}))
