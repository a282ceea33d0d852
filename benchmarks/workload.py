"""What the benchmarks of training share: the two-branch network, its optimiser, made-up recordings, and how to time."""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import optax

from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.optim import build_optimizer
from dcdp_jax.train.step import Signals, StepSettings


def make_model(channels: tuple[int, int], axis_name: str | None = None, **options) -> MultiPath:
    """A ResNet on the first channels and a DenseNet on the others; options of `MultiPath`."""
    first, second = channels
    branches = (
        BranchSpec("res", "resnet", tuple(range(first))),
        BranchSpec("dense", "densenet", tuple(range(first, first + second))),
    )
    return MultiPath(branches, axis_name=axis_name, **options)


def make_optimizer() -> optax.GradientTransformationExtraArgs:
    """AdamW behind CGM, with the defaults of the configs."""
    constants = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "clip_norm": 0.0}
    labels = {"res": "res", "dense": "dense", "projection": None, "fusion": None}
    return build_optimizer("adamw", optax.constant_schedule(1e-3), **constants, cgm_labels=labels)


def make_settings(window: int) -> StepSettings:
    """Those of the configs, without augmentation."""
    return StepSettings(window, align_weight=0.7, temperature=0.5, label_smoothing=0.0)


def make_signals(rng: np.random.Generator, samples: int, channels: int) -> Signals:
    """Noise, which needs no normalisation, on the host."""
    values = rng.normal(size=(samples, channels)).astype(np.float32)
    return Signals(values, np.zeros(channels, np.float32), np.ones(channels, np.float32))


def timed(run: Callable[[], None]) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median (least - most)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"
