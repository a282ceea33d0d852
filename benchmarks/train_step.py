"""One training step of the full model against the same model in PyTorch, in turn, in one process.

    python benchmarks/train_step.py [--batch 64] [--time 128] [--channels 6 3] [--classes 6] [--width 64] [--rounds 20]

Both compute the same logits and loss from the same parameters, which is checked before anything is timed. Rounds
alternate between the two, so that a machine whose speed drifts does not favour either. Needs the extra `benchmark`.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import machine
import numpy as np
import optax
import pytorch_model
import torch

from dcdp_jax.losses import total_loss
from dcdp_jax.models.multipath import BranchSpec, MultiPath
from dcdp_jax.optim import build_optimizer
from dcdp_jax.train.parallel import AXIS, Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepSettings, train_step

TOLERANCE = 1e-4
SAMPLES = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--time", type=int, default=128)
    parser.add_argument("--channels", type=int, nargs=2, default=(6, 3))
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()

    first, second = asked.channels
    branches = (
        BranchSpec("res", "resnet", tuple(range(first))),
        BranchSpec("dense", "densenet", tuple(range(first, first + second))),
    )
    model = MultiPath(branches, asked.classes, width=asked.width, axis_name=AXIS)
    optimizer = build_optimizer(
        "adamw",
        optax.constant_schedule(1e-3),
        b1=0.9,
        b2=0.999,
        eps=1e-8,
        weight_decay=0.01,
        clip_norm=0.0,
        cgm_labels={"res": "res", "dense": "dense", "projection": None, "fusion": None},
    )
    state = create_state(model, optimizer, 0, asked.time, first + second)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(SAMPLES, first + second)).astype(np.float32)
    signals = Signals(values, np.zeros(first + second, np.float32), np.ones(first + second, np.float32))
    batch = {
        "starts": rng.integers(0, SAMPLES - asked.time, asked.batch).astype(np.int32),
        "labels": rng.integers(0, asked.classes, asked.batch).astype(np.int32),
    }
    windows = values[batch["starts"][:, None] + np.arange(asked.time)]

    torch.set_num_threads(torch.get_num_threads())
    twin = pytorch_model.MultiPath((first, second), asked.classes, asked.width)
    pytorch_model.load(twin, state.params)
    check_same(model, state, twin, windows, batch["labels"])

    devices = Devices(1)
    settings = StepSettings(asked.time, 0.7, 0.5, 0.0)
    step = devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=settings)
    state, signals = devices.replicate(state), devices.replicate(signals)
    began = time.perf_counter()
    state, metrics = step(state, signals, devices.shard(batch))
    jax.block_until_ready(metrics)
    first_step = time.perf_counter() - began

    adamw = pytorch_model.optimizer(twin)
    x, y = torch.from_numpy(windows.transpose(0, 2, 1).copy()), torch.from_numpy(batch["labels"].astype(np.int64))
    ours, theirs = [], []
    for _ in range(asked.rounds + 2):
        began = time.perf_counter()
        state, metrics = step(state, signals, devices.shard(batch))
        jax.block_until_ready((state, metrics))
        between = time.perf_counter()
        pytorch_model.train_step(twin, adamw, x, y)
        ended = time.perf_counter()
        ours.append(between - began)
        theirs.append(ended - between)
    report(asked, ours[2:], theirs[2:], first_step)


def check_same(model: MultiPath, state, twin: torch.nn.Module, windows: np.ndarray, labels: np.ndarray) -> None:
    """Raises SystemExit unless both models give the same logits and loss in training mode, dropout aside."""
    whole = model.clone(axis_name=None)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    outputs, _ = jax.jit(lambda v, x: whole.apply(v, x, train=True, mutable=["batch_stats"]))(variables, windows)
    loss, _ = total_loss(*outputs, jnp.asarray(labels), align_weight=0.7, temperature=0.5)
    twin.train()
    dropout, twin.fusion.dropout.p = twin.fusion.dropout.p, 0.0
    with torch.no_grad():
        theirs = twin(torch.from_numpy(windows.transpose(0, 2, 1).copy()))
        their_loss = pytorch_model.total_loss(theirs, torch.from_numpy(labels.astype(np.int64)))
    twin.fusion.dropout.p = dropout
    differences = [np.abs(np.asarray(outputs.fusion) - theirs[0].numpy()).max(), abs(float(loss) - float(their_loss))]
    if max(differences) > TOLERANCE:
        raise SystemExit(f"the two models differ: logits by {differences[0]:.2g}, loss by {differences[1]:.2g}")


def report(asked: argparse.Namespace, ours: list[float], theirs: list[float], first_step: float) -> None:
    """Prints the table."""
    print(
        f"One training step, batch {asked.batch}, t = {asked.time}, {asked.channels[0]}+{asked.channels[1]} channels, "
        f"width {asked.width}, {len(ours)} alternating rounds:\n"
    )
    print("| | ms, median (min - max) | windows/s |\n|---|---|---|")
    for name, seconds in (("dcdp_jax", ours), ("PyTorch eager", theirs)):
        middle = statistics.median(seconds)
        print(
            f"| {name} | {middle * 1e3:.0f} ({min(seconds) * 1e3:.0f} - {max(seconds) * 1e3:.0f}) | "
            f"{asked.batch / middle:.0f} |"
        )
    pairs = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(
        f"\nPyTorch's time over ours: {statistics.median(theirs) / statistics.median(ours):.2f} of the medians, "
        f"{statistics.median(pairs):.2f} median of the rounds ({min(pairs):.2f} - {max(pairs):.2f}). "
        f"First step with compilation: {first_step:.1f} s.\n\n{machine.describe('jax', 'torch')}"
    )


if __name__ == "__main__":
    main()
