"""From a config and a data set to the model and the optimiser."""

import optax
from ml_collections import ConfigDict

from dcdp_jax.data.dataset import Dataset
from dcdp_jax.data.partition import partition
from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.optim import build_optimizer, learning_rate_schedule
from dcdp_jax.train.parallel import AXIS


def build_branches(config: ConfigDict, dataset: Dataset) -> tuple[BranchSpec, ...]:
    """The branches of `model.branches` with the channels that each reads; see `dcdp_jax.data.partition`."""
    model = config.model
    return tuple(
        BranchSpec(*branch) for branch in partition(dataset.channels, model.branches, model.partition, config.seed)
    )


def build_model(config: ConfigDict, branches: tuple[BranchSpec, ...], classes: int) -> MultiPath:
    """The network of the `model` part of a config, for use inside the mapped axis."""
    return MultiPath(
        branches=branches,
        classes=classes,
        width=config.model.width,
        resnet_blocks=config.model.resnet_blocks,
        densenet_blocks=config.model.densenet_blocks,
        embedding=config.model.embedding,
        projection_hidden=config.model.projection_hidden,
        projection=config.model.projection,
        fusion_hidden=config.model.fusion_hidden,
        dropout=config.model.dropout,
        axis_name=AXIS,
    )


def build_chain(
    config: ConfigDict, branches: tuple[BranchSpec, ...], steps_per_epoch: int
) -> tuple[optax.GradientTransformationExtraArgs, optax.Schedule]:
    """The optax chain of the `optimizer` and `cgm` parts of a config, and its learning rate by step."""
    total = steps_per_epoch * config.train.epochs
    optimizer = config.optimizer
    schedule = learning_rate_schedule(
        optimizer.schedule, optimizer.learning_rate, total, round(optimizer.warmup_fraction * total)
    )
    owned = {branch.name for branch in branches}

    def labels(params: dict[str, object]) -> dict[str, str | None]:
        return {name: name if name in owned else None for name in params}

    chain = build_optimizer(
        optimizer.name,
        schedule,
        b1=optimizer.b1,
        b2=optimizer.b2,
        eps=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        clip_norm=optimizer.clip_norm,
        cgm_labels=labels if config.cgm.enabled else None,
        cgm_alpha=config.cgm.alpha,
        cgm_eps=config.cgm.eps,
    )
    return chain, schedule
