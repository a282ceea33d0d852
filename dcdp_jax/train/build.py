"""From a config and a data set to the model, the optimiser and the settings of a step."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dcdp_jax.config import MAIN_MODEL
from dcdp_jax.data.dataset import Dataset
from dcdp_jax.data.partition import partition
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.baselines.baseline import SinglePath
from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.optim import build_optimizer, learning_rate_schedule
from dcdp_jax.train.augment import build_augmentation
from dcdp_jax.train.devices import AXIS
from dcdp_jax.train.step import StepSettings


def build_branches(config: ConfigDict, dataset: Dataset) -> tuple[BranchSpec, ...]:
    """The branches of `model.branches` with the channels that each reads, see `dcdp_jax.data.partition`.

    A baseline has none.
    """
    model = config.model
    if model.name != MAIN_MODEL:
        return ()
    return tuple(
        BranchSpec(*branch) for branch in partition(dataset.channels, model.branches, model.partition, config.seed)
    )


def build_model(config: ConfigDict, branches: tuple[BranchSpec, ...], classes: int) -> nn.Module:
    """The network of the `model` part of a config, which gives `Outputs`, for use inside the mapped axis."""
    if config.model.name != MAIN_MODEL:
        return SinglePath(BASELINES[config.model.name](classes, config.model.width, AXIS))
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
        fusion_hidden=config.model.fusion_hidden,
        dropout=config.model.dropout,
        axis_name=AXIS,
    )


def modulation_schedule(config: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """Alpha by step: that of the config from `cgm.start_epoch` to `cgm.end_epoch` (0: to the last), else 0."""
    first = config.cgm.start_epoch * steps_per_epoch
    last = (config.cgm.end_epoch or config.train.epochs) * steps_per_epoch
    alpha = config.cgm.alpha
    return lambda step: jnp.where((step >= first) & (step < last), alpha, 0.0)


def modulation_labels(branches: tuple[BranchSpec, ...], scope: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Which parameters the chain modulates: of every branch all (`branch`) or only its classifier (`head`)."""

    def labels(params: dict[str, Any]) -> dict[str, Any]:
        tree = dict.fromkeys(params)
        for name in (branch.name for branch in branches):
            tree[name] = name if scope == "branch" else dict.fromkeys(params[name]) | {"classifier": name}
        return tree

    return labels


def build_chain(
    config: ConfigDict, branches: tuple[BranchSpec, ...], steps_per_epoch: int
) -> tuple[optax.GradientTransformationExtraArgs, optax.Schedule]:
    """The optax chain of the `optimizer` and `cgm` parts of a config, and its learning rate by step."""
    total = steps_per_epoch * config.train.epochs
    optimizer, cgm = config.optimizer, config.cgm
    schedule = learning_rate_schedule(
        optimizer.schedule, optimizer.learning_rate, total, round(optimizer.warmup_fraction * total)
    )
    in_chain = cgm.enabled and cgm.scope != "classification"
    chain = build_optimizer(
        optimizer.name,
        schedule,
        b1=optimizer.b1,
        b2=optimizer.b2,
        eps=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        clip_norm=optimizer.clip_norm,
        cgm_labels=modulation_labels(branches, cgm.scope) if in_chain else None,
        cgm_alpha=modulation_schedule(config, steps_per_epoch),
        cgm_eps=cgm.eps,
        cgm_placement=cgm.placement,
    )
    return chain, schedule


def build_settings(config: ConfigDict, dataset: Dataset, steps_per_epoch: int) -> StepSettings:
    """What a training step needs to know of a config."""
    in_backward_pass = config.cgm.enabled and config.cgm.scope == "classification"
    return StepSettings(
        window=dataset.window,
        align_weight=config.loss.align_weight,
        temperature=config.loss.temperature,
        label_smoothing=config.loss.label_smoothing,
        augmentation=build_augmentation(config.augment, dataset.channels),
        classification_modulation=(modulation_schedule(config, steps_per_epoch), config.cgm.eps)
        if in_backward_pass
        else None,
        skip_nonfinite=config.train.skip_nonfinite > 0,
    )
