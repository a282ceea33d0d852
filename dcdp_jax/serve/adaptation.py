"""Adapts batch normalisation to the wearer without labels: its statistics are a running average over the windows."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from dcdp_jax.data.normalize import Normalizer, normalize
from dcdp_jax.models.batch_norm import INPUT_STATISTICS
from dcdp_jax.models.multipath import PROJECTION
from dcdp_jax.serve.model import Array, Prediction, Probabilities, TrainedModel, choose_probabilities, forward

# (b, t, c) windows and (s,) statistics -> probabilities (b, k) and the statistics after the windows, (s,).
AdaptingForward = Callable[[Any, Any], tuple[Probabilities, jax.Array]]


def update_statistics(running: Any, batch: Any, rate: float | jax.Array) -> Any:
    """Updates a running average of mean and mean square, kept as mean and variance, the `batch_stats` of a network.

    They are nested dicts, the innermost {`mean`, `var`: (c,)}. Returns the statistics of a mixture of both in which the
    batch has the weight `rate`, from 0 to 1; its variance includes the variance between the two means.
    """

    def mix(old: dict[str, jax.Array], new: dict[str, jax.Array]) -> dict[str, jax.Array]:
        step = new["mean"] - old["mean"]
        variance = (1 - rate) * old["var"] + rate * new["var"] + rate * (1 - rate) * step * step
        return {"mean": old["mean"] + rate * step, "var": variance}

    return jax.tree.map(mix, running, batch, is_leaf=lambda node: "var" in node)


def network_step(
    network: nn.Module,
    variables: Any,
    trained: Any,
    normalizer: Normalizer,
    windows: Array,
    rate: float | jax.Array,
    share: float | jax.Array,
) -> tuple[Probabilities, Any]:
    """Computes the probabilities of windows (b, t, c), and the statistics after them.

    The statistics move by `rate` towards a mixture of those of the windows, with weight `share`, and those of training,
    `trained`. At most this share of them therefore comes from the wearer.
    """
    shift, scale = normalizer
    outputs, found = network.apply(variables, normalize(windows, shift, scale), mutable=[INPUT_STATISTICS])
    probabilities = Probabilities(*jax.tree.map(jax.nn.softmax, (outputs.fusion, outputs.branches)))
    mixed = update_statistics(trained, found[INPUT_STATISTICS], share)
    return probabilities, update_statistics(variables["batch_stats"], mixed, rate)


compiled_step = jax.jit(network_step, static_argnames="network")


def adapting_forward(model: TrainedModel, rate: float) -> tuple[AdaptingForward, np.ndarray]:
    """Returns the model as one pure function of windows and statistics, and the statistics of training.

    The function, see `AdaptingForward`, is for `jax.jit` and `jax.export`. Its float32 windows, in the recordings' own
    units, have the weight `rate` in the statistics that it returns. The statistics (s,) are those that the
    probabilities depend on; s is 0 without batch normalisation.
    """
    trained = model.variables["batch_stats"]
    followed = {name: part for name, part in trained.items() if name != PROJECTION}
    start, unravel = ravel_pytree(followed)

    def step(windows: Any, given: Any) -> tuple[Probabilities, jax.Array]:
        variables = {**model.variables, "batch_stats": {**trained, **unravel(given)}}
        probabilities, after = network_step(
            model.network, variables, trained, model.card.normalizer, windows, rate, model.adapt_share
        )
        return probabilities, ravel_pytree({name: after[name] for name in followed})[0]

    plain = forward(model)
    return (step if start.size else lambda windows, given: (plain(windows), given)), np.asarray(start)


class AdaptingModel:
    """A model whose statistics of batch normalisation are a running average over the windows that it has predicted.

    It starts with the statistics of training. Each window is predicted with the statistics before it, which then move
    by `model.adapt` towards its own, mixed with those of training; see `network_step`. A window that lacks a channel
    does not change them. The attribute `model` has the statistics so far.
    """

    def __init__(self, model: TrainedModel) -> None:
        """Starts with the statistics of training."""
        self.model = model
        self._trained = model.variables["batch_stats"]

    def predict(self, windows: np.ndarray) -> Prediction:
        """Predicts windows (n, t, c) one after the other; see `dcdp_jax.serve.model.predict`."""
        model, found = self.model, []
        for window in np.asarray(windows, np.float32):
            probabilities, statistics = compiled_step(
                *(model.network, model.variables, self._trained, model.card.normalizer),
                *(window[None], model.adapt, model.adapt_share),
            )
            if np.isfinite(window).all():
                model = model._replace(variables={**model.variables, "batch_stats": statistics})
            found.append(probabilities)
        self.model = model
        return choose_probabilities(model, jax.tree.map(lambda *parts: np.concatenate(parts), *found), windows)
