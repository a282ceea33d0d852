"""Builds the data, model, optimiser and compiled steps of a run from its config."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from dcdp_jax.config import BALANCED, BEST, EMA, HELDOUT, MAIN_MODEL, TRAIN, method_that_acts
from dcdp_jax.data.dataset import Dataset, Split, build_dataset
from dcdp_jax.data.datasets import find_dataset
from dcdp_jax.data.partition import partition
from dcdp_jax.distributed import from_first_process
from dcdp_jax.errors import ConfigError
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.baselines.baseline import SinglePath
from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.optim import METHODS, build_optimizer, learning_rate_schedule
from dcdp_jax.train.augment import build_augmentation
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.diagnosis import Cosines, make_diagnose
from dcdp_jax.train.evaluation import Evaluation, make_evaluate
from dcdp_jax.train.hyperparameters import program_of, with_hyperparameters
from dcdp_jax.train.input_pipeline import divided, place_signals
from dcdp_jax.train.state import TrainState, create_state
from dcdp_jax.train.step import Signals, StepParts, StepSettings, train_divided_seeds, train_seeds, train_steps


class Run(NamedTuple):
    """Everything that is built from a config before the first step."""

    dataset: Dataset  # training, validation and test data
    devices: Devices  # over which the steps are mapped
    signals: Signals  # the recordings, replicated, or on the host with `data.stream`
    program: str  # identifies the configs whose runs it can train, see `hyperparameters.program_of`
    initial_state: Callable[[int], TrainState]  # seed -> state at step 0, on one device
    # mapped `train_steps`: (state, signals, batches, hyperparameters) -> (state, metrics); donates the state
    step: Callable[..., Any]
    # the same for several seeds, `train_seeds` or with divide_seeds `train_divided_seeds`
    step_together: Callable[..., Any]
    divide_seeds: bool  # whether the devices divide those seeds, and not the batch
    evaluate: Callable[[TrainState, Split], Evaluation]  # (state, split) -> `Evaluation`
    # (state, config, epoch) -> cosines of gradients, see `make_diagnose`
    diagnose: Callable[[TrainState, ConfigDict, int], Cosines]
    steps_per_epoch: int  # number of complete batches in the training set
    steps_per_dispatch: int  # number of batches that one call of `step` takes
    proved: set[Path]  # folders in which a run has saved a checkpoint and read it back


def prepare(config: ConfigDict, dataset: Dataset | None = None, divide_seeds: bool = False) -> Run:
    """Reads the data and builds model, optimiser and steps.

    Args:
      config: of the run; `check_config` has passed it.
      dataset: from `build_dataset` of the config's `data`; built here by default.
      divide_seeds: whether the devices divide the seeds that are trained together, and not the batch.

    Raises:
      UserError: the config or the data cannot be used.
    """
    devices = Devices(config.parallel.devices, config.parallel.strategy, precision=config.train.precision)
    batch_size = config.train.batch_size
    if batch_size % len(devices) and not divide_seeds:
        raise ConfigError(
            f"train.batch_size={batch_size} does not divide by the {len(devices)} devices; "
            f"choose a multiple of {len(devices)}, or fewer devices with parallel.devices"
        )
    if config.train.diagnosis_batches and batch_size < len(devices):
        raise ConfigError(
            f"train.batch_size={batch_size} leaves nothing of a batch for each of the {len(devices)} devices, on which "
            f"train.diagnosis_batches={config.train.diagnosis_batches} compares gradients; choose a larger batch"
        )
    dataset = dataset or from_first_process(lambda: build_dataset(config.data))
    branches = build_branches(config, dataset)
    training_windows = len(dataset.splits["train"].labels)
    steps_per_epoch = training_windows // batch_size
    if steps_per_epoch == 0:
        raise ConfigError(f"train.batch_size={batch_size}, but there are {training_windows} training windows")
    if config.train.selection == BEST and not has_validation(dataset):
        raise ConfigError(
            f"train.selection={BEST!r} chooses an epoch by the validation set, and there is none; set "
            "--config.train.selection=last or ema"
        )
    build_settings(config, dataset, steps_per_epoch)  # refuses what this data does not have before anything is written
    model = build_model(config, branches, len(dataset.class_names))
    optimizer = build_chain(config, branches, steps_per_epoch)
    signals = place_signals(dataset, devices, config.data.stream, heldout_part(config, dataset))

    def parts(numbers: Mapping[str, jax.Array]) -> StepParts:
        given = with_hyperparameters(config, numbers)
        return StepParts(
            build_model(given, branches, len(dataset.class_names)),
            build_chain(given, branches, steps_per_epoch),
            build_settings(given, dataset, steps_per_epoch),
        )

    static = {"donate_state": True, "divide_signals": divided(signals), "takes_hyperparameters": True, "parts": parts}
    together = train_divided_seeds if divide_seeds else train_seeds
    return Run(
        dataset=dataset,
        devices=devices,
        signals=signals,
        program=program_of(config),
        initial_state=lambda seed: create_state(
            model, optimizer, seed, dataset.window, len(dataset.channels), config.train.selection == EMA
        ),
        step=devices.map_step(train_steps, **static),
        step_together=devices.map_step(together, divide_state=divide_seeds, **static),
        divide_seeds=divide_seeds,
        evaluate=make_evaluate(config, dataset, model, devices, signals),
        diagnose=make_diagnose(dataset, devices, signals, steps_per_epoch, parts),
        steps_per_epoch=steps_per_epoch,
        steps_per_dispatch=min(steps_per_epoch, config.train.steps_per_dispatch or devices.steps_per_dispatch()),
        proved=set(),
    )


def has_validation(dataset: Dataset) -> bool:
    """Returns whether a data set has a validation set."""
    return "validation" in dataset.splits


def heldout_part(config: ConfigDict, dataset: Dataset) -> Split | None:
    """Returns the windows on which `modulation.confidence=heldout` is measured, or None for other settings.

    Raises:
      ConfigError: the data set has neither a held-out nor a validation set.
    """
    if config.modulation.confidence != HELDOUT or method_that_acts(config) == "none":
        return None
    for part in (HELDOUT, "validation"):
        if part in dataset.splits:
            return dataset.splits[part]
    raise ConfigError(
        f"modulation.confidence={HELDOUT!r} asks people who do not train, and data.validation='none' leaves none; name "
        "some in data.heldout"
    )


def confidence_notes(config: ConfigDict, dataset: Dataset) -> list[str]:
    """Returns a note for result.json on whose windows confidence is measured; none for the training windows."""
    if (part := heldout_part(config, dataset)) is None:
        return []
    names = [str(dataset.subject_names.get(subject, subject)) for subject in np.unique(part.subjects).tolist()]
    return [f"modulation.confidence={HELDOUT}: measured on windows of the subjects {', '.join(names)}"]


def build_branches(config: ConfigDict, dataset: Dataset) -> tuple[BranchSpec, ...]:
    """Returns the branches of `model.branches` with the channels of each, see `dcdp_jax.data.partition`.

    A baseline has no branches.
    """
    model = config.model
    if model.name != MAIN_MODEL:
        return ()
    return tuple(
        BranchSpec(*branch) for branch in partition(dataset.channels, model.branches, model.partition, config.seed)
    )


def build_model(config: ConfigDict, branches: tuple[BranchSpec, ...], classes: int) -> nn.Module:
    """Builds the network of the `model` part of a config, for use inside the mapped axis."""
    if config.model.name != MAIN_MODEL:
        network = BASELINES[config.model.name](classes, config.model.width, AXIS)
        return SinglePath(network, config.model.instance_norm)
    return MultiPath(
        branches=branches,
        classes=classes,
        width=config.model.width,
        resnet_blocks=tuple(config.model.resnet_blocks),
        densenet_blocks=tuple(config.model.densenet_blocks),
        densenet_width=config.model.densenet_width,
        embedding=config.model.embedding,
        projection_hidden=config.model.projection_hidden,
        projection=config.model.projection,
        fusion=config.model.fusion,
        fusion_hidden=config.model.fusion_hidden,
        dropout=config.model.dropout,
        modality_dropout=config.model.modality_dropout,
        instance_norm=config.model.instance_norm,
        axis_name=AXIS,
    )


def within_epochs(config: ConfigDict, part: ConfigDict, steps_per_epoch: int) -> Callable[[Any], jax.Array]:
    """Returns a function from a step to whether it is between the `start_epoch` and `end_epoch` of a config part."""
    first = part.start_epoch * steps_per_epoch
    last = (part.end_epoch or config.train.epochs) * steps_per_epoch
    return lambda step: (step >= first) & (step < last)


def modulation_schedule(config: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """Returns the schedule of alpha: `cgm.alpha` between `cgm.start_epoch` and `cgm.end_epoch`, else 0."""
    acts, alpha = within_epochs(config, config.cgm, steps_per_epoch), config.cgm.alpha
    return lambda step: jnp.where(acts(step), alpha, 0.0)


def in_backward_pass(config: ConfigDict) -> bool:
    """Returns whether CGM acts inside the backward pass and not in the optax chain."""
    return method_that_acts(config) == "cgm" and config.cgm.scope == "classification"


def modulation_labels(branches: tuple[BranchSpec, ...], scope: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Returns a function that labels the parameters that the chain modulates, see `cgm.scope`."""

    def labels(params: dict[str, Any]) -> dict[str, Any]:
        tree = dict.fromkeys(params)
        for name in (branch.name for branch in branches):
            tree[name] = name if scope == "branch" else dict.fromkeys(params[name]) | {"classifier": name}
        return tree

    return labels


def method_arguments(config: ConfigDict, steps_per_epoch: int) -> dict[str, Any]:
    """Returns the arguments of the transformation that `modulation.name` names, see `dcdp_jax.optim.METHODS`."""
    modulation, cgm = config.modulation, config.cgm
    shuffled = {"alpha": cgm.alpha, "eps": cgm.eps, "memory": modulation.memory}
    arguments = {
        "cgm": {"alpha": modulation_schedule(config, steps_per_epoch), "eps": cgm.eps},
        "ogm": {"alpha": modulation.alpha},
        "ogm_ge": {"alpha": modulation.alpha},
        "cggm": {"rho": modulation.rho},
        "mmpareto": {"rescale": modulation.rescale},
        "rank": {"strong": modulation.strong, "weak": modulation.weak},
        "inforeg": {"epoch": steps_per_epoch, "beta": modulation.beta, "threshold": modulation.threshold},
        "arl": {"temperature": modulation.temperature, "least_share": modulation.least_share},
        "random": shuffled,
        "random_mean_one": shuffled,
    }
    return arguments.get(modulation.name, {})


def build_schedule(config: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """Builds the learning rate schedule of the `optimizer` part of a config."""
    total, optimizer = steps_per_epoch * config.train.epochs, config.optimizer
    warmup = round(optimizer.warmup_fraction * total)
    return learning_rate_schedule(optimizer.schedule, optimizer.learning_rate, total, warmup)


def build_chain(
    config: ConfigDict, branches: tuple[BranchSpec, ...], steps_per_epoch: int
) -> optax.GradientTransformationExtraArgs:
    """Builds the optax chain of the `optimizer`, `cgm` and `modulation` parts of a config."""
    optimizer, method = config.optimizer, method_that_acts(config)
    modulation: dict[str, Any] = {}
    if method != "none" and not in_backward_pass(config):
        where = config.cgm if method == "cgm" else config.modulation
        modulation = {
            "method": method,
            "labels": modulation_labels(branches, where.scope),
            "arguments": method_arguments(config, steps_per_epoch),
            "placement": where.placement,
        }
        if config.modulation.confidence != TRAIN:
            # Statistics of held-out windows are not averaged: with a decay of 0 the state keeps the last ones.
            modulation["decay"] = config.modulation.confidence_decay if config.modulation.confidence == EMA else 0.0
        if method != "cgm" and (where.start_epoch or where.end_epoch):
            modulation["acts"] = within_epochs(config, where, steps_per_epoch)
    return build_optimizer(
        optimizer.name,
        build_schedule(config, steps_per_epoch),
        b1=optimizer.b1,
        b2=optimizer.b2,
        eps=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        clip_norm=optimizer.clip_norm,
        **modulation,
    )


def class_weights(chosen: Sequence[Any], dataset: Dataset) -> tuple[float, ...]:
    """Returns the factors of `train.class_weights` on the cross-entropies of the k classes; () for none.

    A class without a factor has 1. `balanced` is n / (m n_c) for a class with n_c of the n training windows, where m
    classes have windows, so that the mean over the training windows is 1.

    Raises:
      ConfigError: a name is no class.
    """
    if not chosen:
        return ()
    if tuple(chosen) == (BALANCED,):
        counts = np.bincount(dataset.splits["train"].labels, minlength=len(dataset.class_names))
        return tuple((counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))).tolist())
    given = {name: float(weight) for name, weight in chosen}
    if unknown := [name for name in given if name not in dataset.class_names]:
        raise ConfigError(
            f"train.class_weights names {', '.join(map(repr, unknown))}, expected classes of the data: "
            f"{', '.join(dataset.class_names)}"
        )
    return tuple(given.get(name, 1.0) for name in dataset.class_names)


def mirror_axes(config: ConfigDict) -> dict[str, str]:
    """Returns {site: axis that is reflected on the other side of the body} from the data set and the config."""
    return {**find_dataset(config.data.name).mirror, **dict(config.augment.mirror_axes)}


def build_settings(config: ConfigDict, dataset: Dataset, steps_per_epoch: int) -> StepSettings:
    """Returns the settings of a training step from a config."""
    method = method_that_acts(config)
    return StepSettings(
        window=dataset.window,
        align_weight=config.loss.align_weight,
        temperature=config.loss.temperature,
        label_smoothing=config.loss.label_smoothing,
        align_reduction=config.loss.align_reduction,
        augmentation=build_augmentation(config.augment, dataset.channels, mirror_axes(config)),
        classification_modulation=(modulation_schedule(config, steps_per_epoch), config.cgm.eps)
        if in_backward_pass(config)
        else None,
        skip_nonfinite=config.train.skip_nonfinite > 0,
        class_weights=class_weights(config.train.class_weights, dataset),
        sam_rho=config.train.sam_rho,
        keywords=METHODS[method].keywords if method not in ("none", "cgm") else (),
        average_decay=config.train.ema_decay,
        heldout_every=config.modulation.confidence_every
        if config.modulation.confidence == HELDOUT and method != "none"
        else 0,
        # Other methods may treat each array by itself, and `head` labels subtrees of an entry.
        pack_vectors=method == "none" or (method == "cgm" and config.cgm.scope != "head"),
    )
