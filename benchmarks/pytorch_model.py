"""The same network, losses and optimiser in PyTorch, with which `gpu.py` compares.

Layer for layer what `dcdp_jax.models.multipath` computes, in PyTorch's own layout (b, c, t) and with its own
layers. `load` copies parameters from JAX, so that both can be compared on the same numbers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Our attribute -> the name that Flax gives the same submodule.
FLAX_NAMES = {"norm1": "BatchNorm_0", "norm2": "BatchNorm_1", "conv1": "Conv1D_0", "conv2": "Conv1D_1"}
HEAD_NAMES = {"linear1": "Dense_0", "linear2": "Dense_1", "norm": "BatchNorm_0"}


class Conv1d(nn.Conv1d):
    """Convolution without bias whose padding is XLA's SAME (one step more on the right where it is odd)."""

    def __init__(self, channels: int, features: int, kernel: int, stride: int = 1):
        super().__init__(
            channels, features, kernel, stride, padding=(kernel - 1) // 2 if stride == 1 else 0, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t) -> (b, features, ceil(t / stride))."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            t = x.shape[-1]
            total = max((-(-t // stride) - 1) * stride + kernel - t, 0)
            if total:
                x = F.pad(x, (total // 2, total - total // 2))
        return super().forward(x)


class BasicBlock(nn.Module):
    """h + F(h) with F = BN, ReLU, conv k3, BN, ReLU, conv k3."""

    def __init__(self, channels: int, features: int, stride: int):
        super().__init__()
        self.norm1 = nn.BatchNorm1d(channels)
        self.conv1 = Conv1d(channels, features, 3, stride)
        self.norm2 = nn.BatchNorm1d(features)
        self.conv2 = Conv1d(features, features, 3)
        self.shortcut = Conv1d(channels, features, 1, stride) if stride > 1 or channels != features else None

    def forward(self, h: Tensor) -> Tensor:
        residual = F.relu(self.norm1(h), inplace=True)
        if self.shortcut is not None:
            h = self.shortcut(residual)
        residual = F.relu(self.norm2(self.conv1(residual)), inplace=True)
        return h + self.conv2(residual)


class ResNet1D(nn.Module):
    """Pooled features of every stage."""

    def __init__(self, channels: int, blocks: Sequence[int], width: int):
        super().__init__()
        self.blocks = tuple(blocks)
        self.stem = Conv1d(channels, width, 7)
        channels = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                features = width * 2**stage
                self.add_module(f"stage{stage + 1}_block{block + 1}", BasicBlock(channels, features, stride))
                channels = features
        self.norm = nn.BatchNorm1d(channels)
        self.widths = [width * 2**stage for stage in range(len(blocks))]

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.stem(x)
        stages = []
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                h = getattr(self, f"stage{stage + 1}_block{block + 1}")(h)
            if stage == len(self.blocks) - 1:
                h = F.relu(self.norm(h), inplace=True)
            stages.append(h.mean(-1))
        return stages


class DenseLayer(nn.Module):
    """BN, ReLU, conv 1x1, BN, ReLU, conv k3 to growth channels."""

    def __init__(self, channels: int, growth: int, bottleneck: int = 4):
        super().__init__()
        self.norm1 = nn.BatchNorm1d(channels)
        self.conv1 = Conv1d(channels, bottleneck * growth, 1)
        self.norm2 = nn.BatchNorm1d(bottleneck * growth)
        self.conv2 = Conv1d(bottleneck * growth, growth, 3)

    def forward(self, h: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.norm1(h), inplace=True))
        return self.conv2(F.relu(self.norm2(h), inplace=True))


class Transition(nn.Module):
    """BN, ReLU, conv 1x1 to half the channels, average pool 2."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1 = nn.BatchNorm1d(channels)
        self.conv1 = Conv1d(channels, channels // 2, 1)

    def forward(self, h: Tensor) -> Tensor:
        return F.avg_pool1d(self.conv1(F.relu(self.norm1(h), inplace=True)), 2)


class DenseNet1D(nn.Module):
    """Pooled features of every stage."""

    def __init__(self, channels: int, blocks: Sequence[int], growth: int, stem: int):
        super().__init__()
        self.blocks = tuple(blocks)
        self.stem = Conv1d(channels, stem, 7)
        channels = stem
        self.widths = []
        for stage, count in enumerate(blocks):
            if stage > 0:
                self.add_module(f"transition{stage}", Transition(channels))
                channels //= 2
            for layer in range(count):
                self.add_module(f"stage{stage + 1}_layer{layer + 1}", DenseLayer(channels, growth))
                channels += growth
            self.widths.append(channels)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.stem(x)
        stages = []
        for stage, count in enumerate(self.blocks):
            if stage > 0:
                h = getattr(self, f"transition{stage}")(h)
            for layer in range(count):
                h = torch.cat([h, getattr(self, f"stage{stage + 1}_layer{layer + 1}")(h)], 1)
            if stage == len(self.blocks) - 1:
                h = F.relu(self.norm(h), inplace=True)
            stages.append(h.mean(-1))
        return stages


class Branch(nn.Module):
    """Backbone, linear map to h, classifier."""

    def __init__(self, backbone: nn.Module, embedding: int, classes: int):
        super().__init__()
        self.backbone = backbone
        self.embedding = nn.Linear(backbone.widths[-1], embedding)
        self.classifier = nn.Linear(embedding, classes)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        stages = self.backbone(x)
        h = self.embedding(stages[-1])
        return stages, h, self.classifier(h)


class ProjectionHead(nn.Module):
    """Dense, BN, ReLU, Dense."""

    def __init__(self, channels: int, hidden: int, features: int):
        super().__init__()
        self.linear1 = nn.Linear(channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.linear2 = nn.Linear(hidden, features)

    def forward(self, h: Tensor) -> Tensor:
        return self.linear2(F.relu(self.norm(self.linear1(h))))


class FusionHead(nn.Module):
    """Dense, ReLU, dropout, linear."""

    def __init__(self, channels: int, hidden: int, classes: int, dropout: float):
        super().__init__()
        self.linear1 = nn.Linear(channels, hidden)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(hidden, classes)

    def forward(self, h: Tensor) -> Tensor:
        return self.linear2(self.dropout(F.relu(self.linear1(h))))


class MultiPath(nn.Module):
    """The paper's two branches: a ResNet `res` on the first channel group, a DenseNet `dense` on the second."""

    def __init__(
        self,
        channels: tuple[int, int],
        classes: int,
        width: int = 64,
        resnet_blocks: Sequence[int] = (3, 4, 6, 3),
        densenet_blocks: Sequence[int] = (4, 4, 6, 4),
        embedding: int = 256,
        projection_hidden: int = 256,
        projection: int = 128,
        fusion_hidden: int = 256,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.channels = channels
        resnet = ResNet1D(channels[0], resnet_blocks, width)
        densenet = DenseNet1D(channels[1], densenet_blocks, width // 2, width)
        self.res = Branch(resnet, embedding, classes)
        self.dense = Branch(densenet, embedding, classes)
        self.projection = nn.ModuleDict(
            {
                f"{name}_stage{stage + 1}": ProjectionHead(channels, projection_hidden, projection)
                for name, backbone in (("res", resnet), ("dense", densenet))
                for stage, channels in enumerate(backbone.widths)
            }
        )
        self.fusion = FusionHead(2 * embedding, fusion_hidden, classes, dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]:
        """(b, c, t) -> fusion logits, logits per branch, h per branch, (z_res, z_dense) per stage."""
        groups = x.split(self.channels, 1)
        (stages_r, h_r, logits_r), (stages_d, h_d, logits_d) = self.res(groups[0]), self.dense(groups[1])
        stages = [
            (self.projection[f"res_stage{stage + 1}"](r), self.projection[f"dense_stage{stage + 1}"](d))
            for stage, (r, d) in enumerate(zip(stages_r, stages_d, strict=True))
        ]
        return self.fusion(torch.cat([h_r, h_d], 1)), [logits_r, logits_d], [h_r, h_d], stages


def contrastive_loss(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE of two (b, d) embeddings."""
    similarity = F.normalize(z_a, dim=1) @ F.normalize(z_b, dim=1).T / temperature
    target = torch.arange(len(z_a), device=z_a.device)
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2


def total_loss(outputs: tuple, y: Tensor, align_weight: float = 0.7, temperature: float = 0.5) -> Tensor:
    """Three cross-entropies + align_weight * (contrast + alignment)."""
    fusion, branches, (h_r, h_d), stages = outputs
    classification = F.cross_entropy(fusion, y) + sum(F.cross_entropy(logits, y) for logits in branches)
    contrast = sum(contrastive_loss(z_r, z_d, temperature) for z_r, z_d in stages) / len(stages)
    alignment = F.mse_loss(F.normalize(h_r, dim=1), F.normalize(h_d, dim=1))
    return classification + align_weight * (contrast + alignment)


def optimizer(
    model: nn.Module, learning_rate: float = 1e-3, weight_decay: float = 0.01, fused: bool = False
) -> torch.optim.Optimizer:
    """Returns AdamW without decay on batch norms and biases; `fused` updates all parameters in few kernels."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)


def forward(model: MultiPath, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Returns the loss and the logits of each branch."""
    outputs = model(x)
    return total_loss(outputs, y), outputs[1]


def update(
    model: MultiPath,
    adamw: torch.optim.Optimizer,
    loss: Tensor,
    branches: list[Tensor],
    y: Tensor,
    alpha: float = 0.9,
) -> None:
    """Takes one optimiser step with CGM on the whole gradient of each branch."""
    loss.backward()
    with torch.no_grad():
        s_r, s_d = (logits.float().softmax(1).gather(1, y[:, None]).sum() for logits in branches)
        for branch, ratio in ((model.res, s_r / (s_d + 1e-8)), (model.dense, s_d / (s_r + 1e-8))):
            coefficient = 1 - torch.tanh(alpha * F.relu(ratio - 1))
            torch._foreach_mul_([p.grad for p in branch.parameters()], coefficient)
    adamw.step()
    adamw.zero_grad(set_to_none=True)  # before the next forward pass, which CUDA graphs run in the same memory


def load(model: nn.Module, params: Mapping) -> None:
    """Copies the parameters of `dcdp_jax.models.multipath.MultiPath` (Flax names) into a PyTorch model."""
    names = HEAD_NAMES if isinstance(model, ProjectionHead | FusionHead) else FLAX_NAMES
    used = set()
    for name, module in model.named_children():
        key = names.get(name, name)
        if isinstance(module, nn.Dropout):
            continue
        used.add(key)
        _load_leaf(module, params[key]) if isinstance(module, _LEAVES) else load(module, params[key])
    if used != set(params):
        raise ValueError(f"parameters without a counterpart in {type(model).__name__}: {set(params) ^ used}")


_LEAVES = (nn.Conv1d, nn.BatchNorm1d, nn.Linear)


def _load_leaf(module: nn.Module, params: Mapping) -> None:
    """Kernel (k, c_in, c_out) -> (c_out, c_in, k); matrices (c_in, c_out) -> (c_out, c_in)."""
    if len(params) == 1 and isinstance(next(iter(params.values())), Mapping):
        params = next(iter(params.values()))
    arrays = {name: torch.from_numpy(np.array(value).T.copy()) for name, value in params.items()}
    weight = arrays.pop("kernel") if "kernel" in arrays else arrays.pop("scale")
    module.load_state_dict({"weight": weight, **arrays}, strict=not isinstance(module, nn.BatchNorm1d))
