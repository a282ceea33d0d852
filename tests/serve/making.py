"""Models that no one has trained, around any card."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.data.views import view_recording
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.baselines.baseline import SinglePath
from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.model import TrainedModel

ACC = tuple(Channel(f"acc_{axis}", "acc", "hip", "g") for axis in "xyz")
TOTAL = tuple(channel._replace(name=f"total_{channel.name}") for channel in ACC)
GYRO = tuple(Channel(f"gyro_{axis}", "gyro", "hip", "rad/s") for axis in "xyz")
CLASSES = ("stand", "walk", "run", "lie")


class Kind(NamedTuple):
    """What differs between the models of these tests."""

    view: str = "raw"
    decimate: int = 1
    window: int = 16
    step: int = 8
    baseline: str = ""


PLAIN = Kind()


def make_card(kind=PLAIN):
    inputs = {"derived": ACC, "body": TOTAL + GYRO}.get(kind.view, ACC + GYRO)
    empty = Recording(np.zeros((1, len(inputs)), np.float32), np.zeros(1, np.int32), 1, "1", 25.0, inputs)
    channels = view_recording(empty, kind.view).channels
    half = {"raw": 3, "derived": 3, "vertical": 2}.get(kind.view, 6)
    rng = np.random.default_rng(1)
    return ModelCard(
        version="0",
        dataset="table",
        protocol="subject",
        class_names=CLASSES,
        inputs=inputs,
        decimate=kind.decimate,
        view=kind.view,
        channels=channels,
        rate=25.0,
        window=kind.window,
        step=kind.step,
        shift=tuple(rng.normal(0, 0.3, len(channels)).astype(np.float32).tolist()),
        scale=tuple(rng.uniform(0.5, 2, len(channels)).astype(np.float32).tolist()),
        branches=()
        if kind.baseline
        else (
            BranchSpec("res", "resnet", tuple(range(half))),
            BranchSpec("dense", "densenet", tuple(range(half, len(channels)))),
        ),
        best_epoch=1,
        marks=(),
    )


def make_model(kind=PLAIN):
    """With random parameters, large enough that windows differ in class."""
    card = make_card(kind)
    network = SinglePath(BASELINES[kind.baseline](len(CLASSES), 4)) if kind.baseline else None
    network = network or MultiPath(
        card.branches, len(CLASSES), 4, (1,), (1,), embedding=8, projection_hidden=4, projection=4, fusion_hidden=8
    )
    return TrainedModel(card, network, random_variables(network, card.window, len(card.channels)))


def random_variables(network, window, channels):
    """Random parameters and statistics, without compiling anything."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, window, channels)))

    def draw(path, leaf):
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.5, 2, leaf.shape).astype(np.float32)
        deviation = 1.2 / np.sqrt(np.prod(leaf.shape[:-1])) if path[-1].key == "kernel" else 0.2
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    drawn = jax.tree.map(jnp.asarray, jax.tree_util.tree_map_with_path(draw, dict(shapes)))
    return {"batch_stats": {}, **drawn}


def statistics_of(model):
    """(s,) statistics of batch normalisation that probabilities depend on: not those of the projection heads."""
    parts = {name: part for name, part in model.variables["batch_stats"].items() if name != "projection"}
    return ravel_pytree(parts)[0]


def make_recording(card, samples, seed=0, starts=(0,)):
    """Unlabelled noise around changing levels, in the channels and at the rate of a card's inputs."""
    signals = noise(samples, len(card.inputs), seed)
    labels = np.full(samples, UNLABELLED, np.int32)
    return Recording(signals, labels, 1, "1", card.input_rate, card.inputs, np.array(starts, np.int64))


def noise(samples, channels, seed=0):
    """(t, c) with another level and another strength every twenty samples."""
    rng = np.random.default_rng(seed)
    levels, strengths = rng.normal(0, 1.5, (samples // 20 + 1, channels)), rng.uniform(0, 2, samples // 20 + 1)
    signals = rng.normal(0, 1, (samples, channels)) * np.repeat(strengths, 20)[:samples, None]
    return (signals + np.repeat(levels, 20, axis=0)[:samples]).astype(np.float32)
