"""Training steps of several seeds in one program against those of one seed alone, as a Markdown table.

    python benchmarks/seeds_at_once.py [--seeds 2 4 8] [--batch 128] [--time 128] [--channels 6 3] [--classes 6]
        [--width 64] [--resnet-blocks 3 4 6 3] [--densenet-blocks 4 4 6 4] [--steps-per-dispatch 0] [--rounds 20]

On one device. Rounds alternate between all contenders, so that a machine whose speed drifts favours none. Processor
time is what to compare on a CPU that others use as well. What `times one seed` is below the number of seeds is saved.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import machine
import numpy as np
import workload

from dcdp_jax.config import PRECISIONS
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import train_seeds, train_steps

SAMPLES = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=(2, 4, 8))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--time", type=int, default=128)
    parser.add_argument("--channels", type=int, nargs=2, default=(6, 3))
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--resnet-blocks", type=int, nargs="+", default=(3, 4, 6, 3))
    parser.add_argument("--densenet-blocks", type=int, nargs="+", default=(4, 4, 6, 4))
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--steps-per-dispatch", type=int, default=0, help="0: 1 on CPU, 32 elsewhere, as in training")
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()

    devices = Devices(1, precision=asked.precision)
    asked.steps_per_dispatch = asked.steps_per_dispatch or devices.steps_per_dispatch()
    runs = {seeds: contender(asked, devices, seeds) for seeds in (1, *asked.seeds)}
    first_call = {seeds: workload.timed(run) for seeds, run in runs.items()}
    seconds: dict[int, list[float]] = {seeds: [] for seeds in runs}
    processor: dict[int, list[float]] = {seeds: [] for seeds in runs}
    for _ in range(asked.rounds + 1):
        for seeds, run in runs.items():
            before = time.process_time()
            seconds[seeds].append(workload.timed(run))
            processor[seeds].append(time.process_time() - before)
    report(asked, first_call, seconds, processor)


def contender(asked: argparse.Namespace, devices: Devices, seeds: int) -> Callable[[], None]:
    """A call that takes the steps of a dispatch for so many seeds; for one, those of a single run."""
    channels = sum(asked.channels)
    model = workload.make_model(
        asked.channels,
        AXIS,
        classes=asked.classes,
        width=asked.width,
        resnet_blocks=tuple(asked.resnet_blocks),
        densenet_blocks=tuple(asked.densenet_blocks),
    )
    optimizer = workload.make_optimizer()
    initial = [create_state(model, optimizer, seed, asked.time, channels) for seed in range(seeds)]
    rng = np.random.default_rng(0)
    signals = devices.replicate(workload.make_signals(rng, SAMPLES, channels))
    shape = (asked.batch, seeds, asked.steps_per_dispatch)
    batches = {
        "starts": rng.integers(0, SAMPLES - asked.time, shape).astype(np.int32),
        "labels": rng.integers(0, asked.classes, shape).astype(np.int32),
        "count": np.full(asked.batch, asked.steps_per_dispatch, np.int32),
        "active": np.ones(shape[:2], bool),
    }
    if seeds == 1:
        batches = {"starts": batches["starts"][:, 0], "labels": batches["labels"][:, 0], "count": batches["count"]}
        state = initial[0]
    else:
        state = jax.tree.map(lambda *leaves: np.stack(leaves), *initial)
    step = devices.map_step(
        train_steps if seeds == 1 else train_seeds,
        donate_state=True,
        model=model,
        optimizer=optimizer,
        settings=workload.make_settings(asked.time),
    )
    kept, given = [devices.replicate(state)], devices.shard(batches)

    def run() -> None:
        kept[0], metrics = step(kept[0], signals, given)
        jax.block_until_ready((kept[0], metrics))

    return run


def report(
    asked: argparse.Namespace,
    first_call: dict[int, float],
    seconds: dict[int, list[float]],
    processor: dict[int, list[float]],
) -> None:
    """Prints the table without the first round; ratios are to one seed, round by round."""
    print(
        f"Training steps, batch {asked.batch}, t = {asked.time}, {asked.channels[0]}+{asked.channels[1]} channels, "
        f"width {asked.width}, ResNet {list(asked.resnet_blocks)}, DenseNet {list(asked.densenet_blocks)}, "
        f"{asked.precision}, {asked.steps_per_dispatch} steps a dispatch, {asked.rounds} alternating rounds:\n"
    )
    print(
        "| seeds at once | ms a step of all, median (min - max) | times one seed, median of rounds (min - max) | "
        "processor time, times one seed | first call, s |"
    )
    print("|---:|---|---|---|---|")
    for seeds in seconds:
        taken = [1e3 / asked.steps_per_dispatch * one for one in seconds[seeds][1:]]
        ratios = [several / one for several, one in zip(seconds[seeds][1:], seconds[1][1:], strict=True)]
        busy = statistics.median(processor[seeds][1:]) / statistics.median(processor[1][1:])
        print(
            f"| {seeds} | {workload.spread(taken)} | {workload.spread(ratios, 2)} | {busy:.2f} "
            f"| {first_call[seeds]:.1f} |"
        )
    print(f"\n{jax.devices()[0].device_kind}; {machine.describe('jax')}")


if __name__ == "__main__":
    main()
