"""Training steps of one seed or several, written for one device of a mapped axis."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from dcdp_jax.data.normalize import normalize
from dcdp_jax.losses import split_total, total_loss
from dcdp_jax.optim import (
    batch_statistics,
    coefficients_of,
    contribution_ratios,
    modulation_coefficients,
    norms_of,
    statistics_of,
    true_class_confidence,
)
from dcdp_jax.optim.branches import is_zero
from dcdp_jax.train.augment import Augmentation, augment
from dcdp_jax.train.mixup import mixup
from dcdp_jax.train.packing import pack, unpack
from dcdp_jax.train.state import AveragedState, TrainState, update_average

Batch = Mapping[str, jax.Array]
Number = float | jax.Array


def apply_model(
    model: nn.Module, params: Any, batch_stats: Any, x: jax.Array, dtype: Any, **options: Any
) -> tuple[Any, Any]:
    """Applies the model in a given dtype. Parameters, statistics, softmax and losses stay in float32.

    Returns:
      Outputs in float32, and the updated collections if `mutable` is among the options, else {}.
    """
    variables = {"params": jax.tree.map(lambda p: p.astype(dtype), unpack(params)), "batch_stats": batch_stats}
    found = model.apply(variables, x.astype(dtype), **options)
    outputs, updated = found if "mutable" in options else (found, {})
    return jax.tree.map(lambda y: y.astype(jnp.float32), outputs), updated


class HeldOut(NamedTuple):
    """Windows of people outside the training set, on which `modulation.confidence=heldout` is measured."""

    starts: jax.Array | np.ndarray  # (n,) int32 first sample of each window
    labels: jax.Array | np.ndarray  # (n,) int32 class index


class Signals(NamedTuple):
    """The recordings on every device, or the windows of a batch on one device (see `train.input_pipeline`)."""

    values: jax.Array | np.ndarray  # (t, c) all recordings, or a device's windows, end to end, not normalised
    shift: jax.Array | np.ndarray  # (c,) subtracted from every sample
    scale: jax.Array | np.ndarray  # (c,) multiplies the difference
    heldout: HeldOut | None = None  # replicated; None unless `modulation.confidence` is `heldout`


def gather_windows(signals: Signals, starts: jax.Array, window: int) -> jax.Array:
    """Gathers normalised windows (b, window, c) from their first samples (b,)."""
    return normalize(signals.values[starts[:, None] + jnp.arange(window)], signals.shift, signals.scale)


def window_keys(seed: int | jax.Array, step: int | jax.Array, windows: int, axis_name: str) -> jax.Array:
    """Returns (b,) random keys: functions of seed, step and place in the global batch, not of the number of devices."""
    first = jax.lax.axis_index(axis_name) * windows
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(windows))


HELDOUT_STREAM = 1 << 30  # keeps the keys of held-out draws apart from those of the steps, which are smaller numbers


def heldout_rows(seed: int | jax.Array, draw: int | jax.Array, windows: int, among: int, axis_name: str) -> jax.Array:
    """Draws this device's rows (windows,) of a global batch among the held-out windows, with replacement.

    They are functions of seed, draw and place in the global batch.
    """
    keys = window_keys(seed, HELDOUT_STREAM + draw, windows, axis_name)
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, among))(keys)


class StepSettings(NamedTuple):
    """Settings of a training step."""

    window: int  # samples
    align_weight: Number  # lambda
    temperature: Number  # tau
    label_smoothing: Number  # see `losses.cross_entropy`
    augmentation: Augmentation | None = None  # of the training windows, or None
    # with scope `classification`, the schedule of alpha and the eps of the CGM inside the backward pass; None if the
    # chain modulates or nothing does
    classification_modulation: tuple[optax.Schedule, Number] | None = None
    # whether a step whose loss or gradient is not finite changes only the step counter
    skip_nonfinite: bool = False
    align_reduction: str = "mean"  # see `losses.alignment_loss`
    keywords: tuple[str, ...] = ()  # keywords of the optimiser's update besides `confidence`, see `optim.Method`
    class_weights: tuple[float, ...] = ()  # k factors, see `losses.total_loss`; () for none
    average_decay: Number = 0.999  # of the average in an `AveragedState`
    # number of steps from one draw of held-out windows to the next; 0 if confidence is measured on the training batch
    heldout_every: int = 0
    sam_rho: Number = 0.0  # radius of sharpness-aware minimisation, see `perturb`; 0 for none
    # whether a program of several steps joins the vectors of each entry of the parameters, see `packing.pack`
    pack_vectors: bool = False


def training_windows(signals: Signals, starts: jax.Array, keys: jax.Array, settings: StepSettings) -> jax.Array:
    """Gathers normalised windows (b, window, c) from their first samples (b,), with augmentation if it is set."""
    if settings.augmentation is None:
        return gather_windows(signals, starts, settings.window)
    x = signals.values[starts[:, None] + jnp.arange(settings.window)]
    return augment(x, keys, settings.augmentation, signals.shift, signals.scale)


def heldout_statistics(
    state: TrainState,
    signals: Signals,
    windows: int,
    *,
    model: nn.Module,
    settings: StepSettings,
    axis_name: str,
    dtype: Any,
) -> dict[str, dict[str, jax.Array]]:
    """Computes the statistics that the method uses on held-out windows, in evaluation mode.

    Every `heldout_every` steps, as many windows are drawn as this device's share of a batch has. Between two draws the
    statistics are those of the last one, which the optimiser's state keeps (see `optim.average_statistics`).

    Returns:
      {keyword: {branch: ()}} of the global batch.
    """
    held, last = signals.heldout, statistics_of(state.opt_state)
    assert held is not None
    assert last is not None

    def drawn() -> dict[str, dict[str, jax.Array]]:
        draw = state.step // settings.heldout_every
        rows = heldout_rows(state.seed, draw, windows, len(held.labels), axis_name)
        x = gather_windows(signals, held.starts[rows], settings.window)
        outputs, _ = apply_model(model, state.params, state.batch_stats, x, dtype)
        return batch_statistics(last, outputs.branches, held.labels[rows], axis_name)

    return jax.lax.cond(state.step % settings.heldout_every == 0, drawn, lambda: last)


def perturb(params: Any, gradients: Any, rho: Number) -> Any:
    """Returns the parameters at which sharpness-aware minimisation computes the gradient.

    They are at the Euclidean distance rho in the direction in which the loss of the global batch rises most (Foret et
    al. 2021, "Sharpness-Aware Minimization for Efficiently Improving Generalization", equation 2). The second gradient
    nearly doubles the time of a step.
    """
    scale = rho / jnp.maximum(optax.tree.norm(gradients), 1e-12)
    return jax.tree.map(lambda p, g: p + scale * g, params, gradients)


def classification_coefficients(
    branches: dict[str, jax.Array], labels: jax.Array, step: jax.Array, settings: StepSettings, axis_name: str
) -> dict[str, jax.Array]:
    """Computes M for CGM inside the backward pass, from the logits {branch: (b, k)} of a step."""
    assert settings.classification_modulation is not None
    alpha, eps = settings.classification_modulation
    logits = jax.tree.map(lambda z: jax.lax.stop_gradient(z).astype(jnp.float32), branches)
    S = true_class_confidence(logits, labels, axis_name)
    return modulation_coefficients(S, alpha(step), eps)


def loss_on_batch(
    state: TrainState,
    signals: Signals,
    batch: Batch,
    *,
    model: nn.Module,
    settings: StepSettings,
    axis_name: str,
    dtype: Any,
) -> Callable[[Any], tuple[jax.Array, tuple[Any, dict[str, jax.Array], Any]]]:
    """Returns the training loss of a batch as a function of the parameters; see `train_step` for the arguments.

    The function returns this device's total, and as auxiliary values the model's outputs, the terms of the total and
    the running statistics after the forward pass.
    """
    labels = batch["labels"]
    keys = window_keys(state.seed, state.step, labels.shape[0], axis_name)
    x = training_windows(signals, batch["starts"], keys, settings)
    mixture = None
    if settings.augmentation and not is_zero(settings.augmentation.mixup_alpha):
        alpha = settings.augmentation.mixup_alpha
        x, others, shares = mixup(x, labels, state.seed, state.step, alpha, axis_name)
        mixture = others, shares

    def coefficients(branches: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return classification_coefficients(branches, labels, state.step, settings, axis_name)

    def loss_of(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array], Any]]:
        outputs, updated = apply_model(
            model,
            params,
            state.batch_stats,
            x,
            dtype,
            train=True,
            keys=keys,
            modulation=coefficients if settings.classification_modulation else None,
            mutable=["batch_stats"],
        )
        total, terms = total_loss(
            outputs.fusion,
            outputs.branches,
            outputs.embeddings,
            outputs.stages,
            labels,
            align_weight=settings.align_weight,
            temperature=settings.temperature,
            label_smoothing=settings.label_smoothing,
            align_reduction=settings.align_reduction,
            class_weights=jnp.asarray(settings.class_weights, jnp.float32) if settings.class_weights else None,
            mixture=mixture,
            axis_name=axis_name,
        )
        return total, (outputs, terms, updated.get("batch_stats", {}))

    return loss_of


def train_step(
    state: TrainState,
    signals: Signals,
    batch: Batch,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    settings: StepSettings,
    axis_name: str,
    dtype: Any = jnp.float32,
) -> tuple[TrainState, dict[str, Any]]:
    """Computes losses, gradients, confidences, the update and metrics; the numbers do not depend on the device count.

    Args:
      state: replicated.
      signals: replicated.
      batch: this device's share: `starts` (b,) and `labels` (b,).
      model: gives `Outputs`; built with this axis_name.
      optimizer: its update takes `confidence` and the keywords of the settings.
      settings: see `StepSettings`.
      axis_name: of the mapped axis.
      dtype: in which the network computes, see `dcdp_jax.config.PRECISIONS`.

    Returns:
      The next state, and scalars of the global batch: `loss` (total and its terms), `accuracy`; per branch `S`, with
      several branches `R`, and with a method of modulation `M`; `modulation_KEYWORD` per branch for each statistic that
      is averaged or measured on held-out windows, such as `modulation_confidence`; `gradient_norm` (before the chain)
      and `update_norm` (as applied) per branch and head; and `finite`, whether the loss and all gradients are finite.
    """
    labels = batch["labels"]
    static = {"model": model, "settings": settings, "axis_name": axis_name, "dtype": dtype}
    loss_of = loss_on_batch(state, signals, batch, **static)

    def split_loss_of(params: Any) -> tuple[tuple[jax.Array, jax.Array], Any]:
        total, (outputs, terms, batch_stats) = loss_of(params)
        return split_total(terms, outputs.branches, settings.align_weight), (total, outputs, terms, batch_stats)

    if "unimodal" in settings.keywords:
        _, backward, (total, outputs, terms, batch_stats) = jax.vjp(split_loss_of, state.params, has_aux=True)
        parts = backward((jnp.ones(()), jnp.zeros(()))) + backward((jnp.zeros(()), jnp.ones(())))
        incoming, unimodal = jax.lax.pmean(parts, axis_name)
        gradients, given = jax.tree.map(jnp.add, incoming, unimodal), {"unimodal": unimodal}
    else:
        (total, (outputs, terms, batch_stats)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        gradients = incoming = jax.lax.pmean(gradients, axis_name)
        given = {}
    if not is_zero(settings.sam_rho):  # outputs, losses and running statistics are those of the original parameters
        sharp, _ = jax.grad(loss_of, has_aux=True)(perturb(state.params, gradients, settings.sam_rho))
        gradients = incoming = jax.lax.pmean(sharp, axis_name)
    S = true_class_confidence(outputs.branches, labels, axis_name)
    given |= batch_statistics(settings.keywords, outputs.branches, labels, axis_name) | {"confidence": S}
    if settings.heldout_every:
        given |= heldout_statistics(state, signals, labels.shape[0], **static)
    with jax.named_scope("optimizer"):
        updates, opt_state = optimizer.update(incoming, state.opt_state, state.params, **given)
        params = optax.apply_updates(state.params, updates)

    accuracy = jnp.mean(outputs.fusion.argmax(axis=-1) == labels)
    metrics = jax.lax.pmean({"loss": {"total": total, **terms}, "accuracy": accuracy}, axis_name)
    metrics |= {"S": S, "gradient_norm": norms_of(gradients), "update_norm": norms_of(updates)}
    if len(S) > 1:
        metrics["R"] = contribution_ratios(S)
    if settings.classification_modulation:
        metrics["M"] = classification_coefficients(outputs.branches, labels, state.step, settings, axis_name)
    elif (M := coefficients_of(opt_state)) is not None:
        metrics["M"] = M
    if (averages := statistics_of(opt_state)) is not None:
        metrics |= {f"modulation_{keyword}": values for keyword, values in averages.items()}
    metrics["finite"] = jnp.isfinite(jnp.stack([metrics["loss"]["total"], *metrics["gradient_norm"].values()])).all()
    following = state.replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state)
    if isinstance(state, AveragedState):
        variables = {"params": params, "batch_stats": batch_stats}
        average = update_average(state.average, variables, state.step, settings.average_decay)
        following = following.replace(average=average)
    if settings.skip_nonfinite:
        same = state.replace(step=state.step + 1)
        following = jax.tree.map(lambda new, old: jnp.where(metrics["finite"], new, old), following, same)
    return following, metrics


class StepParts(NamedTuple):
    """The arguments `model`, `optimizer` and `settings` of a `train_step`."""

    model: nn.Module
    optimizer: optax.GradientTransformationExtraArgs
    settings: StepSettings


def train_steps(
    state: TrainState,
    signals: Signals,
    batches: Batch,
    numbers: Mapping[str, jax.Array],
    *,
    parts: Callable[[Mapping[str, jax.Array]], StepParts],
    **static: Any,
) -> tuple[TrainState, dict[str, Any]]:
    """Computes several `train_step`s in one program, because a dispatch costs a GPU as much time as a small step.

    Args:
      state: replicated, as are the signals.
      signals: see `train_step`.
      batches: this device's share: `starts` and `labels` (b, n), and `count` (b,), which repeats the number of steps to
        take, n at most.
      numbers: {field: ()} replicated, see `hyperparameters.hyperparameters`.
      parts: of the steps, as a function of the numbers.
      **static: other arguments of `train_step`.

    Returns:
      The state after these steps, and their metrics with a leading axis n. Metrics of steps not taken are 0.
    """
    built = parts(numbers)._asdict()

    def one(state: TrainState, i: int | jax.Array) -> tuple[TrainState, dict[str, Any]]:
        batch = {name: batches[name][:, i] for name in ("starts", "labels")}
        return train_step(state, signals, batch, **built, **static)

    n = batches["starts"].shape[1]
    if n == 1:  # no loop: XLA's convolutions for CPU are slow in one
        state, metrics = one(state, 0)
        return state, jax.tree.map(lambda x: x[None], metrics)

    # Each step's metrics as one row, which a GPU writes by one kernel instead of one for each of them.
    shapes = jax.eval_shape(one, state, 0)[1]
    row, as_metrics = ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))

    def body(i: jax.Array, carried: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
        state, metrics = one(carried[0], i)
        return state, carried[1].at[i].set(ravel_pytree(metrics)[0])

    # Packed, because a GPU would otherwise launch one kernel for the update of every scale and bias.
    packed = pack(state, state.params) if built["settings"].pack_vectors else state
    rows = jnp.zeros((n, row.size), row.dtype)
    state, rows = jax.lax.fori_loop(0, batches["count"][0], body, (packed, rows))
    return unpack(state), jax.vmap(as_metrics)(rows)


def train_seeds(
    states: TrainState,
    signals: Signals,
    batches: Batch,
    numbers: Mapping[str, jax.Array],
    *,
    seed_axis: int = 1,
    **static: Any,
) -> tuple[TrainState, dict[str, Any]]:
    """Computes `train_steps` of several seeds in one program, each with its own windows and random keys.

    States, numbers and the returned values have a leading axis s. The device's share of the batches has `starts` and
    `labels` (b, s, n), `count` (b,), and `active` (b, s), equal in every row: a seed that is not active keeps its
    state. Axis s of the batches is seed_axis, which is 0 if the devices divide the seeds.
    """

    def one(state: TrainState, batch: Batch, count: jax.Array, numbers: Any) -> tuple[TrainState, dict[str, Any]]:
        return train_steps(state, signals, {**batch, "count": count}, numbers, **static)

    windows = {name: batches[name] for name in ("starts", "labels")}
    following, metrics = jax.vmap(one, in_axes=(0, seed_axis, None, 0))(states, windows, batches["count"], numbers)
    active = jnp.take(batches["active"], 0, axis=1 - seed_axis)

    def chosen(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(active.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(chosen, following, states), metrics


def train_divided_seeds(
    states: TrainState,
    signals: Signals,
    batches: Batch,
    numbers: Mapping[str, jax.Array],
    *,
    axis_name: str,
    **static: Any,
) -> tuple[TrainState, dict[str, Any]]:
    """Computes `train_seeds` if each device holds some of the seeds and their whole batches.

    The batches are those of this device's seeds: `starts` and `labels` (s, b, n), `active` (s, b) and `count` (s,). The
    steps average over axis_name, which has size 1 here.
    """

    def on_whole_batch(batches: Batch) -> tuple[TrainState, dict[str, Any]]:
        return train_seeds(states, signals, batches, numbers, seed_axis=0, axis_name=axis_name, **static)

    found = jax.vmap(on_whole_batch, axis_name=axis_name)(jax.tree.map(lambda x: x[None], dict(batches)))
    return jax.tree.map(lambda x: x[0], found)
