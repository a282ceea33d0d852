"""The contenders of `gpu.py` that run in PyTorch."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytorch_model
import torch
from contenders import Contender, Prepared
from workload import Shape


def device() -> torch.device:
    """Returns the GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_precision(precision: str) -> None:
    """Allows or forbids TF32 in matrix products and convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def twin(shape: Shape, params: Mapping[str, Any] | None = None) -> pytorch_model.MultiPath:
    """Returns the network in PyTorch, with JAX's parameters if given."""
    model = pytorch_model.MultiPath(
        shape.channels, shape.classes, shape.width, shape.resnet_blocks, shape.densenet_blocks
    )
    if params is not None:
        pytorch_model.load(model, params)
    return model


def prepare(contender: Contender, sizes: dict[str, Any], began: float) -> Prepared:
    """Compiles the training step, unless it is eager, and takes it three times."""
    imported = time.perf_counter()
    shape, steps = Shape(**sizes), contender.steps
    set_precision(contender.precision)
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    model = twin(shape).to(device()).train()
    adamw = pytorch_model.optimizer(model, fused=device().type == "cuda")
    signals, starts, labels = shape.data(steps)
    windows = signals.values[starts[..., None] + np.arange(shape.time)].transpose(1, 0, 3, 2).copy()
    x, y = torch.from_numpy(windows).to(device()), torch.from_numpy(labels.T.astype(np.int64)).to(device())
    forward = compiled(pytorch_model.forward, contender.mode)

    def take(count: int) -> None:
        for i in range(count):
            if contender.mode == "graphs":
                torch.compiler.cudagraph_mark_step_begin()
            with torch.autocast(device().type, torch.bfloat16, enabled=contender.precision == "bfloat16"):
                loss, branches = forward(model, x[i], y[i])
            pytorch_model.update(model, adamw, loss, branches, y[i])
        if device().type == "cuda":
            torch.cuda.synchronize()

    prepared = time.perf_counter()
    take(1)
    first = time.perf_counter()
    take(min(3, steps))  # with CUDA graphs the second step warms up, the third records
    phases = {
        "import": imported - began,
        "initial state": prepared - imported,
        "first step": first - prepared,
        "next steps": time.perf_counter() - first,
    }
    return Prepared(phases, lambda: take(steps), steps, {"memory": memory})


def compiled(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """Returns a function as a mode runs it."""
    if mode == "eager":
        return function
    return torch.compile(function, mode="reduce-overhead" if mode == "graphs" else None)


def memory() -> dict[str, Any]:
    """Returns the most memory that PyTorch has held on a GPU."""
    return {"peak_bytes": torch.cuda.max_memory_allocated() if device().type == "cuda" else 0}
