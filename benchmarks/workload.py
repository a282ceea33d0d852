"""What the benchmarks of training share: the two-branch network, its optimiser, made-up recordings, and how to time."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import optax

from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.optim import build_optimizer
from dcdp_jax.train.step import Signals, StepSettings


class Shape(NamedTuple):
    """The sizes of a training step.

    Attributes:
      batch: windows.
      time: samples of a window.
      channels: of the ResNet and of the DenseNet branch.
      classes: to tell apart.
      width: channels of the first ResNet stage.
      resnet_blocks: blocks per ResNet stage.
      densenet_blocks: layers per DenseNet stage.
      samples: of the recordings from which windows are cut.
    """

    batch: int = 128
    time: int = 128
    channels: tuple[int, int] = (6, 3)
    classes: int = 6
    width: int = 64
    resnet_blocks: tuple[int, ...] = (3, 4, 6, 3)
    densenet_blocks: tuple[int, ...] = (4, 4, 6, 4)
    samples: int = 20_000

    def model(self, axis_name: str | None) -> MultiPath:
        """Returns the network."""
        return make_model(
            self.channels,
            axis_name,
            classes=self.classes,
            width=self.width,
            resnet_blocks=self.resnet_blocks,
            densenet_blocks=self.densenet_blocks,
        )

    def data(self, steps: int) -> tuple[Signals, np.ndarray, np.ndarray]:
        """Draws recordings, first samples of windows (b, steps) and their labels (b, steps)."""
        rng = np.random.default_rng(0)
        signals = make_signals(rng, self.samples, sum(self.channels))
        starts = rng.integers(0, self.samples - self.time, (self.batch, steps)).astype(np.int32)
        return signals, starts, rng.integers(0, self.classes, (self.batch, steps)).astype(np.int32)


def make_model(channels: tuple[int, int], axis_name: str | None = None, **options) -> MultiPath:
    """Returns a network with a ResNet on the first channels and a DenseNet on the others; options of `MultiPath`."""
    first, second = channels
    branches = (
        BranchSpec("res", "resnet", tuple(range(first))),
        BranchSpec("dense", "densenet", tuple(range(first, first + second))),
    )
    return MultiPath(branches, axis_name=axis_name, **options)


def make_optimizer() -> optax.GradientTransformationExtraArgs:
    """Returns AdamW behind CGM, with the defaults of the configs."""
    constants = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "clip_norm": 0.0}
    labels = {"res": "res", "dense": "dense", "projection": None, "fusion": None}
    return build_optimizer("adamw", optax.constant_schedule(1e-3), **constants, labels=labels)


def make_settings(window: int) -> StepSettings:
    """Returns the settings of the configs, without augmentation."""
    return StepSettings(window, align_weight=0.7, temperature=0.5, label_smoothing=0.0, pack_vectors=True)


def make_signals(rng: np.random.Generator, samples: int, channels: int) -> Signals:
    """Draws noise, which needs no normalisation, on the host."""
    values = rng.normal(size=(samples, channels)).astype(np.float32)
    return Signals(values, np.zeros(channels, np.float32), np.ones(channels, np.float32))


def timed(run: Callable[[], None]) -> float:
    """Returns the seconds of a call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Formats the median, the least and the most of several values."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"
