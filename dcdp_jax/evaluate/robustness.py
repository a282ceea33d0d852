"""Measures the robustness of a trained model to absent sensors, noise, other ways of wearing, and lost samples.

Measured on the test set after the model was selected; nothing is chosen by it. An absent channel is replaced by its
training mean; noise is added to the normalised signal, in units of its standard deviation on the training windows.
Rotations act on the signals in the units of the recordings.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.calibration import MAIN_SCORES
from dcdp_jax.data.dataset import Dataset
from dcdp_jax.data.normalize import covered_samples, fit_normalizer
from dcdp_jax.data.recording import Channel
from dcdp_jax.data.vectors import Triple, devices_of, mirror_signs
from dcdp_jax.errors import ConfigError
from dcdp_jax.evaluate.shapley import coalitions, shapley_values
from dcdp_jax.metrics import accuracy_text, scores
from dcdp_jax.models.multipath import BranchSpec
from dcdp_jax.runs.result import git_revision
from dcdp_jax.train.augment import interpolate
from dcdp_jax.train.build import build_branches, build_model, mirror_axes
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.evaluation import evaluation_batch_size, padded_batches
from dcdp_jax.train.input_pipeline import divided, feed
from dcdp_jax.train.rotation import rotate, rotation_matrices
from dcdp_jax.train.state import TrainState
from dcdp_jax.train.step import Batch, Signals, apply_model, gather_windows

NOISE_LEVELS = (0.1, 0.25, 0.5, 1.0, 2.0)
# Degrees of rotation, the other side of the body, shares of the sampling rate, and shares of the samples that are lost.
WORN_LEVELS = {"rotation": (10.0, 45.0, 180.0), "mirror": (1.0,), "rate": (0.5, 0.25), "lost": (0.1, 0.3, 0.5)}
NOTE = "Measured on the test set after the model was selected; nothing was chosen by it."
ZERO, ONE = np.zeros((), np.float32), np.ones((), np.float32)


class Corruption(NamedTuple):
    """A disturbance of the normalised windows. By default only the channels that are not present are disturbed."""

    present: jax.Array | np.ndarray  # (c,) bool; the other channels are replaced by their mean
    mean: jax.Array | np.ndarray  # (c,) of the normalised training windows
    deviation: jax.Array | np.ndarray  # (c,) standard deviation of the normalised training windows
    seed: jax.Array | np.ndarray  # () of the random noise, axes of rotation and lost samples
    noise: jax.Array | np.ndarray = ZERO  # () standard deviation of the added Gaussian noise, in units of `deviation`
    # () degrees by which each device is rotated, about an axis that is drawn for each window
    rotation: jax.Array | np.ndarray = ZERO
    mirror: jax.Array | np.ndarray = ZERO  # () 1 for devices on the other side of the body, 0 for none
    # () sampling rate of the device as a share of the model's, at most 1; its samples are interpolated
    rate: jax.Array | np.ndarray = ONE
    # () share of the samples that are lost; the others are interpolated. A window's first one is never lost
    lost: jax.Array | np.ndarray = ZERO


def corrupt(
    x: jax.Array,
    rows: jax.Array,
    corruption: Corruption,
    devices: Sequence[Sequence[Triple]] = (),
    shift: jax.Array | np.ndarray | float = 0.0,
    scale: jax.Array | np.ndarray | float = 1.0,
    signs: Sequence[int] = (),
) -> jax.Array:
    """Disturbs windows in this order: other side of the body, rotation, rate, lost samples, noise, absent channels.

    A disturbance of level 0, or of rate 1, changes no bit.

    Args:
      x: (b, t, c) normalised windows.
      rows: (b,) indices of the windows in their part. They and the seed alone determine what is drawn, not the batch.
      corruption: The disturbances and their levels.
      devices: The channels of each device, which are rotated together, see `devices_of`; () for no rotation.
      shift: (c,) shift of the normaliser.
      scale: (c,) scale of the normaliser.
      signs: (c,) factors of the channels on the other side of the body, see `mirror_signs`; () for no mirroring.

    Returns:
      (b, t, c) normalised windows.
    """
    if signs:
        x = x + corruption.mirror * (jnp.asarray(signs, x.dtype) - 1) * (x / scale + shift) * scale
    keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(corruption.seed), row))(rows)
    if devices:
        raw = x / scale + shift
        turned = jax.vmap(
            lambda window, key: rotate(window, random_rotations(key, corruption.rotation, len(devices)), devices)
        )(raw, keys)
        x = x + (turned - raw) * scale
    x = at_rate(x, corruption.rate)
    lost = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 2), x.shape[1:2]))(keys) < corruption.lost
    x = interpolate_lost(x, lost)
    drawn = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
    noisy = x + corruption.noise * corruption.deviation * drawn
    return jnp.where(corruption.present, noisy, corruption.mean)


def random_rotations(key: jax.Array, degrees: jax.Array | np.ndarray, count: int) -> jax.Array:
    """Returns (count, 3, 3) rotations by an angle about axes that are uniform on the sphere."""
    drawn = jax.random.normal(jax.random.fold_in(key, 1), (count, 3))
    axes = drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True)
    half = jnp.radians(degrees) / 2
    return rotation_matrices(jnp.concatenate([jnp.full((count, 1), jnp.cos(half)), jnp.sin(half) * axes], axis=1))


def at_rate(x: jax.Array, rate: jax.Array | np.ndarray) -> jax.Array:
    """Samples (b, t, c) windows at a share of their rate, from the first sample on, and interpolates back linearly.

    The next sample after the end of a window is not known, so the window's last sample takes its place.
    """
    last = x.shape[1] - 1
    place = jnp.arange(last + 1, dtype=x.dtype)
    before = jnp.floor(place * rate) / rate
    after = jnp.minimum(before + 1 / rate, last)
    sample = jax.vmap(interpolate, (0, None))
    weight = (place - before) / jnp.where(after > before, after - before, 1)
    return between(sample(x, before), sample(x, after), weight)


def interpolate_lost(x: jax.Array, lost: jax.Array) -> jax.Array:
    """Replaces the lost samples, (b, t) bool, of (b, t, c) windows by linear interpolation between their neighbours.

    Lost samples at the end of a window repeat the last sample that is left. The first sample is never lost.
    """
    place = jnp.arange(x.shape[1])
    kept = ~lost | (place == 0)
    before = jax.lax.cummax(jnp.where(kept, place, 0), axis=1)
    after = jax.lax.cummin(jnp.where(kept, place, len(place)), axis=1, reverse=True)
    after = jnp.where(after == len(place), before, after)
    weight = ((place - before) / jnp.where(after > before, after - before, 1)).astype(x.dtype)
    one, other = (jnp.take_along_axis(x, index[..., None], axis=1) for index in (before, after))
    return between(one, other, weight)


def between(one: jax.Array, other: jax.Array, weight: jax.Array) -> jax.Array:
    """Interpolates linearly between two (b, t, c) arrays, with weights (t,) or (b, t) of the other, from 0 to 1."""
    return one + weight[..., None] * (other - one)


def remaining_branches(logits: Mapping[str, jax.Array], present: Mapping[str, jax.Array]) -> jax.Array:
    """Averages the probabilities of the classifiers of the branches that are present, at least one.

    From the logits {branch: (b, k)} and {branch: () bool}; returns (b, k).
    """
    weighted = [present[name] * jax.nn.softmax(z) for name, z in logits.items()]
    return jnp.sum(jnp.stack(weighted), axis=0) / jnp.sum(jnp.stack(list(present.values())))


def corrupted_step(
    state: TrainState,
    given: tuple[Signals, Corruption],
    batch: Batch,
    *,
    model: nn.Module,
    branches: tuple[BranchSpec, ...],
    turning: tuple[tuple[Triple, ...], ...],
    signs: tuple[int, ...],
    window: int,
    axis_name: str,
    dtype: Any = jnp.float32,
) -> dict[str, jax.Array]:
    """Computes the counts of one padded, corrupted batch, summed over the devices.

    State and given are replicated; the batch is this device's share: `starts`, `labels`, `rows` and `mask`, all (b,),
    see `padded_batches`. For turning (`devices` there) and signs see `corrupt`; for model, axis_name and dtype see
    `train.step.train_step`.

    Returns:
      (k, k) counts, rows true: `fused` of the fusion's predictions, and unless the model is a baseline `fallback`, of
      the same if every branch has a present channel, else of the predictions by `remaining_branches`.
    """
    signals, corruption = given
    x = gather_windows(signals, batch["starts"], window)
    x = corrupt(x, batch["rows"], corruption, turning, signals.shift, signals.scale, signs)
    outputs, _ = apply_model(model, state.params, state.batch_stats, x, dtype)
    fused = outputs.fusion.argmax(axis=-1)
    predictions = {"fused": fused}
    if branches:
        present = {branch.name: corruption.present[jnp.array(branch.channels)].any() for branch in branches}
        every_branch = jnp.stack(list(present.values())).all()
        remaining = remaining_branches(outputs.branches, present).argmax(axis=-1)
        predictions["fallback"] = jnp.where(every_branch, fused, remaining)
    classes = outputs.fusion.shape[-1]
    weight = batch["mask"].astype(jnp.float32)
    counts = {
        name: jnp.zeros((classes, classes)).at[batch["labels"], predicted].add(weight)
        for name, predicted in predictions.items()
    }
    return jax.lax.psum(counts, axis_name)


class Absence(NamedTuple):
    """Channels that are absent together: those of a branch, a sensor site or a channel group."""

    kind: str
    name: str
    channels: tuple[int, ...]


def absences(dataset: Dataset, branches: Sequence[BranchSpec]) -> list[Absence]:
    """Returns each branch, site and group, except those of all channels and repetitions of the same channels."""
    found = [Absence("branch", branch.name, tuple(sorted(branch.channels))) for branch in branches]
    for kind in ("site", "group"):
        members: dict[str, list[int]] = {}
        for i, channel in enumerate(dataset.channels):
            members.setdefault(getattr(channel, kind), []).append(i)
        found += [Absence(kind, name, tuple(channels)) for name, channels in members.items()]
    first = {absence.channels: absence for absence in reversed(found)}
    return [a for a in found if first[a.channels] is a and len(a.channels) < len(dataset.channels)]


def known_signs(channels: Sequence[Channel], axes: Mapping[str, str]) -> tuple[int, ...]:
    """Returns the factors of `mirror_signs`; () if the axes are not known, or the factors change nothing."""
    try:
        signs = mirror_signs(channels, axes, "robustness")
    except ConfigError:
        return ()
    return signs if min(signs) < 0 else ()


def measure_robustness(
    config: ConfigDict, dataset: Dataset, devices: Devices, state: TrainState, signals: Signals
) -> dict[str, Any]:
    """Returns the content of robustness.json: scores of the test set by what is absent and by disturbance."""
    branches, classes = build_branches(config, dataset), len(dataset.class_names)
    turning, signs = devices_of(dataset.channels), known_signs(dataset.channels, mirror_axes(config))
    step = devices.map_step(
        corrupted_step,
        donate_state=False,
        divide_signals=(divided(signals), False),
        model=build_model(config, branches, classes),
        branches=branches,
        turning=turning,
        signs=signs,
        window=dataset.window,
    )
    split, size = dataset.splits["test"], evaluation_batch_size(config, devices)
    mean, deviation = training_statistics(dataset)

    def measured(absent: Sequence[int] = (), kind: str = "noise", level: float = 0.0) -> dict[str, dict[str, float]]:
        present = np.ones(len(dataset.channels), bool)
        present[list(absent)] = False
        seed, levels = np.array(config.seed, np.uint32), {kind: np.array(level, np.float32)}
        corruption = devices.replicate(Corruption(present, mean, deviation, seed, **levels))
        given = feed(signals, padded_batches(split, size), dataset.window, devices)
        return {name: scores(counts) for name, counts in count_part(step, state, given, corruption).items()}

    def worth(present: frozenset[str]) -> float:
        absent = [i for branch in branches if branch.name not in present for i in branch.channels]
        return measured(absent=absent)["fused"]["accuracy"]

    clean = measured()["fused"]
    names = [branch.name for branch in branches]

    def outcome(found: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        return {
            name: {score: one[score] for score in MAIN_SCORES}
            | {f"{score}_drop": clean[score] - one[score] for score in MAIN_SCORES}
            for name, one in found.items()
        }

    return {
        "note": NOTE,
        "seed": config.seed,
        "windows": len(split.labels),
        "clean": {score: clean[score] for score in MAIN_SCORES},
        "absent": [
            {
                "kind": absence.kind,
                "name": absence.name,
                "channels": [dataset.channels[i].name for i in absence.channels],
                "silent_branches": [b.name for b in branches if set(b.channels) <= set(absence.channels)],
                **outcome(measured(absent=absence.channels)),
            }
            for absence in absences(dataset, branches)
        ],
        "shapley": shapley_values({members: worth(members) for members in coalitions(names)}, names),
        "noise": [{"level": level, "fused": outcome(measured(level=level))["fused"]} for level in NOISE_LEVELS],
        "worn": [
            {"kind": kind, "level": level, "fused": outcome(measured(kind=kind, level=level))["fused"]}
            for kind, levels in WORN_LEVELS.items()
            if (turning or kind != "rotation") and (signs or kind != "mirror")
            for level in levels
        ],
        "device": devices.describe(),
        "git_revision": git_revision(),
        "command": " ".join(sys.argv),
    }


def count_part(
    step: Any, state: TrainState, given: Iterable[tuple[Signals, Batch]], corruption: Corruption
) -> dict[str, np.ndarray]:
    """Sums the counts of `corrupted_step` over the batches of a split."""
    counted = [step(state, (signals, corruption), batch) for signals, batch in given]
    return jax.tree.map(lambda *values: np.sum(values, axis=0, dtype=np.float64), *jax.device_get(counted))


def training_statistics(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation (c,) of the normalised training windows: 0 and 1 with z-scores."""
    covered = covered_samples(dataset.splits["train"].starts, dataset.window, len(dataset.signals))
    raw = fit_normalizer(dataset.signals, covered, "zscore")
    shift, scale = dataset.normalizer
    return (raw.shift - shift) * scale, scale / raw.scale


def robustness_lines(robustness: Mapping[str, Any]) -> str:
    """Formats the scores as lines of text."""

    def line(what: str, row: Mapping[str, Any]) -> str:
        return f"{what}: " + "; ".join(f"{n} {accuracy_text(row[n])}" for n in ("fused", "fallback") if n in row)

    return "\n".join(
        [
            *(line(f"without {row['kind']} {row['name']}", row) for row in robustness["absent"]),
            *(line(f"noise {row['level']:g}", row) for row in robustness["noise"]),
            *(line(f"{row['kind']} {row['level']:g}", row) for row in robustness["worn"]),
        ]
    )
