"""The paper's model for any number of branches. Each has a backbone, an embedding, a classifier and projections."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.densenet1d import DenseNet1D
from dcdp_jax.models.fusion import FusionHead
from dcdp_jax.models.gradient import scale_gradient
from dcdp_jax.models.instance_norm import with_instance_norm
from dcdp_jax.models.kernels import Dense
from dcdp_jax.models.resnet1d import ResNet1D

BACKBONES = ("resnet", "densenet")
PROJECTION = "projection"  # name of the projection heads, which only the loss reads


class BranchSpec(NamedTuple):
    """A branch: its name (its key in the parameters), its backbone and the channels that it reads."""

    name: str
    backbone: str
    channels: tuple[int, ...]


class Outputs(NamedTuple):
    """Outputs of a forward pass.

    Attributes:
      fusion: (b, k) logits, the model's prediction.
      branches: {branch: (b, k)} logits of each branch's own classifier.
      embeddings: {branch: (b, d)}, the paper's h.
      stages: per stage {branch: (b, projection)}, the paper's z; not normalised.
    """

    fusion: jax.Array
    branches: dict[str, jax.Array]
    embeddings: dict[str, jax.Array]
    stages: list[dict[str, jax.Array]]


class Branch(nn.Module):
    """Backbone, linear map to the common width d, and linear classifier of one modality.

    Its parameters `backbone`, `embedding` and `classifier` are the subtree that CGM modulates.
    """

    backbone_name: str
    resnet_blocks: Sequence[int]
    densenet_blocks: Sequence[int]
    width: int
    densenet_width: int
    embedding_size: int
    classes: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[list[jax.Array], jax.Array, jax.Array]:
        """Maps (b, t, c) to pooled features per stage, h (b, d) and logits (b, k)."""
        backbone: nn.Module
        if self.backbone_name == "resnet":
            backbone = ResNet1D(self.resnet_blocks, self.width, self.axis_name, name="backbone")
        elif self.backbone_name == "densenet":
            width = self.densenet_width or self.width
            backbone = DenseNet1D(self.densenet_blocks, width // 2, width, self.axis_name, name="backbone")
        else:
            raise ValueError(f"backbone {self.backbone_name!r} is not one of {BACKBONES}")
        stages = backbone(x, train)
        h = Dense(self.embedding_size, name="embedding")(stages[-1])
        return stages, h, Dense(self.classes, name="classifier")(h)


class MultiPath(nn.Module):
    """DCDP-HAR's network. Two branches give the paper's model, one branch its single-path baseline.

    Parameters: one top-level entry per branch, plus `projection` and `fusion`, which belong to no branch.

    Attributes:
      branches: disjoint channel groups and the backbone that reads each.
      classes: k.
      width: channels of the first ResNet stage.
      resnet_blocks: basic blocks per stage of every ResNet branch.
      densenet_blocks: layers per stage of every DenseNet branch.
      densenet_width: channels of DenseNet's stem; its growth is half of it. 0 for `width`.
      embedding: d, the common width of h.
      projection_hidden: hidden width of the projection heads.
      projection: width of z.
      fusion: how the branches are fused, see `FusionHead`.
      fusion_hidden: hidden width of the fusion classifier.
      dropout: rate in the fusion classifier.
      modality_dropout: share of the training windows in which one branch is replaced, see `FusionHead`.
      instance_norm: whether branches read their channels `with_instance_norm`.
      axis_name: mapped axis over which the batch is split, or None if it is not split.
    """

    branches: Sequence[BranchSpec]
    classes: int
    width: int = 64
    resnet_blocks: Sequence[int] = (3, 4, 6, 3)
    densenet_blocks: Sequence[int] = (4, 4, 6, 4)
    densenet_width: int = 0
    embedding: int = 256
    projection_hidden: int = 256
    projection: int = 128
    fusion: str = "concat"
    fusion_hidden: int = 256
    dropout: float | jax.Array = 0.5
    modality_dropout: float | jax.Array = 0.0
    instance_norm: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        keys: jax.Array | None = None,
        modulation: Callable[[dict[str, jax.Array]], dict[str, jax.Array]] | None = None,
    ) -> Outputs:
        """Computes a forward pass.

        Args:
          x: (b, t, c) windows with all channels.
          train: whether to use batch statistics instead of running statistics.
          keys: (b,) random keys for dropout and modality dropout, or None for no dropout.
          modulation: Function from {branch: (b, k) logits} to {branch: () M}. M scales the gradient of the branch's
            classifier, and the gradients that reach the branch through its classifier and through the fusion. This
            is M * grad(L_cls), in the same backward pass as the unscaled gradients of contrast and alignment. The
            values do not change.

        Returns:
          `Outputs`.
        """
        pooled: dict[str, list[jax.Array]] = {}
        embeddings: dict[str, jax.Array] = {}
        logits: dict[str, jax.Array] = {}
        for branch in self.branches:
            channels = x[..., jnp.array(branch.channels)]
            pooled[branch.name], embeddings[branch.name], logits[branch.name] = Branch(
                branch.backbone,
                self.resnet_blocks,
                self.densenet_blocks,
                self.width,
                self.densenet_width,
                self.embedding,
                self.classes,
                self.axis_name,
                name=branch.name,
            )(with_instance_norm(channels) if self.instance_norm else channels, train)
        stages = Projections(self.projection_hidden, self.projection, self.axis_name, name=PROJECTION)(pooled, train)
        into_fusion = embeddings
        if modulation is not None:
            M = modulation(logits)
            logits = {name: scale_gradient(z, M[name]) for name, z in logits.items()}
            into_fusion = {name: scale_gradient(h, M[name]) for name, h in embeddings.items()}
        head = FusionHead(
            self.classes, self.fusion_hidden, self.dropout, self.fusion, self.modality_dropout, name="fusion"
        )
        fusion = head(into_fusion, logits, keys)
        return Outputs(fusion, logits, embeddings, stages)


class ProjectionHead(nn.Module):
    """g: Dense, BN, ReLU, Dense; one per stage and branch."""

    hidden: int = 256
    features: int = 128
    axis_name: str | None = None

    @nn.compact
    def __call__(self, h: jax.Array, train: bool) -> jax.Array:
        """Maps (b, c) to (b, features), not normalised."""
        h = Dense(self.hidden, use_bias=False)(h)
        h = BatchNorm(self.axis_name, relu=True)(h, train)
        return Dense(self.features)(h)


class Projections(nn.Module):
    """One projection head per stage and branch, or none if there is only one branch."""

    hidden: int
    features: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, pooled: dict[str, list[jax.Array]], train: bool) -> list[dict[str, jax.Array]]:
        """Maps {branch: [(b, c_l) per stage]} to a list of {branch: (b, features)} per stage."""
        if len(pooled) < 2:
            return []
        return [
            {
                name: ProjectionHead(self.hidden, self.features, self.axis_name, name=f"{name}_stage{stage + 1}")(
                    stages[stage], train
                )
                for name, stages in pooled.items()
            }
            for stage in range(min(map(len, pooled.values())))
        ]
