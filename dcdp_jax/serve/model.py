"""A trained model without its training data, from windows in the recordings' own units to probabilities."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.config import EMA, is_network, with_defaults
from dcdp_jax.data.normalize import normalize
from dcdp_jax.density import Density, distances, window_features
from dcdp_jax.errors import CheckpointError, ConfigError, DataError
from dcdp_jax.rejection import Rejection
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.runs.files import CARD, CHECKPOINTS, CONFIG
from dcdp_jax.runs.model_card import ModelCard, read_card, read_density
from dcdp_jax.runs.reading import read_config, read_result
from dcdp_jax.serve.channels import compute_body
from dcdp_jax.serve.events import UNKNOWN_NAME
from dcdp_jax.train.build import build_chain, build_model
from dcdp_jax.train.state import TrainState, evaluated_state, state_shapes

BATCH = 64
NORM, DISTANCE = "norm", "distance"
Array = jax.Array | np.ndarray


class TrainedModel(NamedTuple):
    """A network with its parameters."""

    card: ModelCard  # its inputs, windows, normalisation and classes
    network: nn.Module  # gives `Outputs` of normalised windows (b, t, c)
    variables: Any  # its parameters and running statistics, on the device
    rejection: Rejection | None = None  # rule by which a window is `unknown`; None for no such windows
    # weight of each window in the statistics of batch normalisation, see `AdaptingModel`; 0 leaves those of training
    adapt: float = 0.0
    adapt_share: float = 1.0  # largest share of the windows in these statistics; the rest is that of training
    density: Density | None = None  # `unknown` is decided by its distance; None to decide it by probability


class Probabilities(NamedTuple):
    """Class probabilities of b windows."""

    fusion: jax.Array  # (b, k) of the fusion classifier, the model's prediction
    branches: dict[str, jax.Array]  # {branch: (b, k)} of each branch's own classifier; empty for a baseline


class Prediction(NamedTuple):
    """Predictions for n windows, some of which may lack sensors."""

    probabilities: np.ndarray  # (n, k); NaN where no branch has all of its channels
    complete: np.ndarray  # (n, m) bool, which of the m branches have all of their channels; m is 1 for a baseline
    # (n,) to the training windows, see `dcdp_jax.density`; NaN where a channel is missing, or the model has no density
    distances: np.ndarray


def load_model(workdir: Path, computes_body: bool = False) -> TrainedModel:
    """Loads the best checkpoint of a finished run, from the workdir only.

    With computes_body its channels `body_X` are computed, see `channels.compute_body` and its errors. Raises
    CheckpointError if the workdir holds no finished run of a network, or a file of it is damaged.
    """
    read_result(workdir)
    card, network, like = describe_state(workdir)
    state = evaluated_state(restore_state(workdir, card, like))
    variables = jax.tree.map(jnp.asarray, {"params": state.params, "batch_stats": state.batch_stats})
    return TrainedModel(compute_body(card) if computes_body else card, network, variables)


def describe_state(workdir: Path) -> tuple[ModelCard, nn.Module, TrainState]:
    """Returns the card and the network of a finished run, and the shapes of its state; raises as `load_model` does."""
    path = workdir / CONFIG
    try:
        config = with_defaults(read_config(workdir))
        if not is_network(config.model.name):
            raise CheckpointError(f"{workdir}: model.name={config.model.name} leaves no model that could be used")
        card = read_card(workdir)
        network = build_model(config, card.branches, len(card.class_names))
        optimizer = build_chain(config, card.branches, steps_per_epoch=1)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not the config of a run ({error})") from error
    average = config.train.selection == EMA
    return card, network, state_shapes(network, optimizer, card.window, len(card.channels), average)


def restore_state(workdir: Path, card: ModelCard, like: TrainState) -> TrainState:
    """Reads the best checkpoint of a finished run, see `describe_state`; raises CheckpointError, see `load_model`."""
    with Checkpoints(workdir / CHECKPOINTS, read_only=True) as checkpoints:
        state = checkpoints.restore(card.best_epoch, like=like)
    if jax.tree.map(np.shape, state) != jax.tree.map(np.shape, like):
        raise CheckpointError(f"{workdir / CONFIG}: the checkpoint {card.best_epoch} is not of a model of this config")
    return state


def load_serving_model(config: ConfigDict, workdir: Path) -> TrainedModel:
    """Loads the model of a run with the settings of the `serve` part of its config.

    Raises CheckpointError as `load_model` does, and ConfigError if the settings need a threshold, batch normalisation
    or channels that the model does not have, or the model has a class named `unknown`.
    """
    model = load_model(workdir, config.serve.compute_body)._replace(adapt_share=config.serve.adapt_share)
    if config.serve.adapt == NORM:
        if not model.variables["batch_stats"]:
            raise ConfigError(f"serve.adapt={NORM!r}: the model of {workdir} has no batch normalisation")
        model = model._replace(adapt=config.serve.adapt_rate)
    if not config.serve.unknown:
        return model
    if model.card.rejection is None:
        raise ConfigError(
            f"serve.unknown=True: {workdir / CARD} has no threshold; training chooses it on the validation set, which "
            "data.validation=none leaves out"
        )
    if UNKNOWN_NAME in model.card.class_names:
        raise ConfigError(f"serve.unknown=True: the model has a class {UNKNOWN_NAME!r} of its own; rename that class")
    if config.serve.unknown_score != DISTANCE:
        return model._replace(rejection=model.card.rejection)
    if model.card.rejection.distance is None:
        raise ConfigError(
            f"serve.unknown_score={DISTANCE!r}: {workdir / CARD} has no largest distance; set it to 'probability', or "
            "train again in another --workdir"
        )
    return model._replace(rejection=model.card.rejection, density=read_density(workdir))


def network_probabilities(
    network: nn.Module, variables: Any, shift: Array, scale: Array, windows: Array
) -> Probabilities:
    """Computes the probabilities of (b, t, c) float32 windows in the recordings' own units."""
    outputs = network.apply(variables, normalize(jnp.asarray(windows), shift, scale))
    return Probabilities(*jax.tree.map(jax.nn.softmax, (outputs.fusion, outputs.branches)))


compiled = jax.jit(network_probabilities, static_argnames="network")


def forward(model: TrainedModel) -> Callable[[Array], Probabilities]:
    """Returns the model as one pure function that contains its parameters and normalisation, for `jax.jit` and export.

    It maps (b, t, c) float32 windows in the recordings' own units to `Probabilities`, whose `fusion` is the prediction.
    """
    return functools.partial(network_probabilities, model.network, model.variables, *model.card.normalizer)


def probabilities(model: TrainedModel, windows: np.ndarray, batch: int = BATCH) -> Probabilities:
    """Computes probabilities of (n, t, c) windows in the recordings' own units, `batch` at a time in one program.

    Returns `Probabilities` of NumPy arrays; where a window has NaN in a channel, all that depends on it is NaN. Raises
    DataError for windows of another shape.
    """
    card = model.card
    shape = (card.window, len(card.channels))
    if windows.ndim != 3 or windows.shape[1:] != shape:
        raise DataError(f"windows of shape {windows.shape}, expected (n, {shape[0]}, {shape[1]})")
    normalizer, found = card.normalizer, []
    # Without windows one padded batch is computed, so that the result has the usual names and shapes.
    for first in range(0, max(len(windows), 1), batch):
        some = np.asarray(windows[first : first + batch], np.float32)
        padded = np.pad(some, ((0, batch - len(some)), (0, 0), (0, 0)))
        found.append(compiled(model.network, model.variables, *normalizer, padded))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(windows)], *found)


def predict(model: TrainedModel, windows: np.ndarray, batch: int = BATCH) -> Prediction:
    """Predicts (n, t, c) windows, in which a channel with a NaN is missing.

    If all branches have all of their channels, the prediction is that of the fusion, otherwise the mean of the
    probabilities of the classifiers of those branches that have all of theirs. Raises DataError for windows of another
    shape.
    """
    return choose_probabilities(model, probabilities(model, windows, batch), windows)


def choose_probabilities(model: TrainedModel, found: Probabilities, windows: np.ndarray) -> Prediction:
    """Chooses the probabilities of windows (n, t, c) from those of the fusion and of the branches, see `predict`."""
    card = model.card
    finite: np.ndarray = np.all(np.isfinite(windows), axis=1)
    groups = [branch.channels for branch in card.branches] or [tuple(range(finite.shape[1]))]
    complete = np.stack([finite[:, list(group)].all(axis=1) for group in groups], axis=1)
    whole: np.ndarray = np.all(complete, axis=1, keepdims=True)
    given = np.where(whole, found.fusion, np.nan)
    if found.branches:
        each = np.stack([found.branches[branch.name] for branch in card.branches], axis=1)
        some = np.any(complete, axis=1) & ~whole[:, 0]
        given[some] = np.mean(each[some], axis=1, where=complete[some, :, None])
    distant = np.full(len(windows), np.nan)
    if model.density is not None:
        every = [found.fusion, *(found.branches[branch.name] for branch in card.branches)]
        distant = distances(model.density, window_features(every, normalize(windows, *card.normalizer)))
    return Prediction(given, complete, distant)
