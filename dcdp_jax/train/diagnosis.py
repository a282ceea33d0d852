"""Compares the gradients that a branch's encoder receives from its own loss and from the losses that branches share."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.dataset import Dataset
from dcdp_jax.losses import split_total
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.hyperparameters import hyperparameters
from dcdp_jax.train.input_pipeline import divided, feed, shuffled_rows, windows_of_epoch
from dcdp_jax.train.state import TrainState
from dcdp_jax.train.step import Batch, Signals, StepParts, loss_on_batch

Cosines = dict[str, dict[str, Any]]
SMALLEST_NORM = 1e-30


def cosine(a: Any, b: Any) -> jax.Array:
    """Computes the cosine () between two pytrees of arrays, each as one vector; 0 if one of them is 0."""
    a, b = (jnp.concatenate([x.ravel() for x in jax.tree.leaves(tree)]) for tree in (a, b))
    norms = jnp.sqrt(jnp.sum(a * a)) * jnp.sqrt(jnp.sum(b * b))
    return jnp.sum(a * b) / jnp.maximum(norms, SMALLEST_NORM)


def encoder_of(params: Mapping[str, Any], branch: str) -> dict[str, Any]:
    """Returns the parameters of a branch that both its own loss and the fusion's loss reach: all but its classifier."""
    return {name: subtree for name, subtree in params[branch].items() if name != "classifier"}


def gradient_cosines(
    state: TrainState,
    signals: Signals,
    batch: Batch,
    numbers: Mapping[str, jax.Array],
    *,
    parts: Callable[[Mapping[str, jax.Array]], StepParts],
    axis_name: str,
    dtype: Any = jnp.float32,
) -> Cosines:
    """Computes, for the encoder of each branch m, the cosines between the gradients of its own and of other losses.

    Let g_m be the gradient of the cross-entropy of branch m's classifier, g_f that of the fusion's cross-entropy, and
    g_s that of the fusion's cross-entropy + lambda (contrast + align), all with respect to the encoder of m:

        fusion: <g_m, g_f> / (|g_m| |g_f|)        shared: <g_m, g_s> / (|g_m| |g_s|)

    The encoders share no parameters: the conflict that Wei and Hu 2024 ("MMPareto: Boosting Multimodal Learning with
    Innocent Unimodal Assistance") describe is between the losses of each encoder. g_s is the gradient that
    `combine_by_mmpareto` combines with g_m.

    Args:
      state: replicated; its step and seed give the random keys, as in `train_step`.
      signals: replicated.
      batch: this device's share: `starts` (b,) and `labels` (b,).
      numbers: see `train_steps`.
      parts: see `train_steps`.
      axis_name: of the mapped axis.
      dtype: see `train_step`.

    Returns:
      {"fusion": {branch: ()}, "shared": {branch: ()}} of the gradients over the global batch.
    """
    model, _, settings = parts(numbers)
    static = {"model": model, "settings": settings, "axis_name": axis_name, "dtype": dtype}
    loss_of = loss_on_batch(state, signals, batch, **static)

    def losses_of(params: Any) -> tuple[tuple[jax.Array, jax.Array, jax.Array], dict[str, jax.Array]]:
        _, (outputs, terms, _) = loss_of(params)
        shared, own = split_total(terms, outputs.branches, settings.align_weight)
        return (own, terms["fusion"], shared), outputs.branches

    _, backward, branches = jax.vjp(losses_of, state.params, has_aux=True)
    own, fusion, shared = (
        jax.lax.pmean(backward(tuple(jnp.eye(3)[i]))[0], axis_name)  # one loss at a time
        for i in range(3)
    )
    return {
        name: {branch: cosine(encoder_of(own, branch), encoder_of(other, branch)) for branch in branches}
        for name, other in (("fusion", fusion), ("shared", shared))
    }


def make_diagnose(
    dataset: Dataset, devices: Devices, signals: Signals, steps_per_epoch: int, parts: Callable[..., StepParts]
) -> Callable[[TrainState, ConfigDict, int], Cosines]:
    """Returns a function of a state, the config of its run and an epoch that averages `gradient_cosines`.

    The mean is over the first `train.diagnosis_batches` batches of the epoch. If the devices divide the seeds and not
    the batch, the windows of a batch beyond a multiple of the number of devices are left out.
    """
    step = devices.map_step(
        gradient_cosines, donate_state=False, divide_signals=divided(signals), takes_hyperparameters=True, parts=parts
    )

    def diagnose(state: TrainState, config: ConfigDict, epoch: int) -> Cosines:
        split = windows_of_epoch(dataset.splits["train"], config, epoch)
        size = config.train.batch_size // len(devices) * len(devices)
        rows = shuffled_rows(split, config, epoch, steps_per_epoch)[: config.train.diagnosis_batches, :size]
        batches = ({"starts": split.starts[chosen], "labels": split.labels[chosen]} for chosen in rows)
        numbers = devices.replicate(hyperparameters(config))
        given = feed(signals, batches, dataset.window, devices)
        found = jax.device_get([step(state, *one, numbers) for one in given])
        return jax.tree.map(lambda *values: float(np.mean(values, dtype=np.float64)), *found)

    return diagnose
