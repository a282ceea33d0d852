"""Training steps on recordings that are streamed from the host against ones on the device, in turn, in one process.

    python benchmarks/streaming.py [--batch 64] [--time 64] [--channels 9 9] [--width 16] [--steps 10] [--rounds 15]

`in line` streams without being ahead: what gathering and sending cost where nothing hides them. The last column is
each against `resident` in the same round.
"""

import argparse
import time

import jax
import machine
import numpy as np
import workload

from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.input_pipeline import divided, feed, send
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import StepParts, train_steps

SAMPLES = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--time", type=int, default=64)
    parser.add_argument("--channels", type=int, nargs=2, default=(9, 9))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()

    channels = sum(asked.channels)
    blocks = {"resnet_blocks": (1, 2, 2, 1), "densenet_blocks": (2, 2, 3, 2)}
    model = workload.make_model(asked.channels, AXIS, classes=6, width=asked.width, **blocks)
    optimizer = workload.make_optimizer()
    devices = Devices(1)
    initial = create_state(model, optimizer, 0, asked.time, channels)
    rng = np.random.default_rng(0)
    host = workload.make_signals(rng, SAMPLES, channels)
    host = devices.replicate(host)._replace(values=host.values)
    placed = {"resident": host._replace(values=devices.replicate(host.values)), "streamed": host, "in line": host}
    batches = [
        {
            "starts": rng.integers(0, SAMPLES - asked.time, (asked.batch, 1)).astype(np.int32),
            "labels": rng.integers(0, 6, (asked.batch, 1)).astype(np.int32),
            "count": np.ones(asked.batch, np.int32),
        }
        for _ in range(asked.steps)
    ]
    parts = StepParts(model, optimizer, workload.make_settings(asked.time))
    # One program for both that stream.
    programs = {
        signals: devices.map_step(
            train_steps,
            donate_state=True,
            divide_signals=divided(placed[signals]),
            takes_hyperparameters=True,
            parts=lambda _: parts,
        )
        for signals in ("resident", "streamed")
    }
    states = {name: devices.replicate(initial) for name in placed}

    def given(name):
        if name == "in line":
            return (send(host, batch, asked.time, devices) for batch in batches)
        return feed(placed[name], batches, asked.time, devices)

    seconds: dict[str, list[float]] = {name: [] for name in placed}
    for _ in range(asked.rounds + 1):
        for name in placed:
            step = programs["resident" if name == "resident" else "streamed"]
            began = time.perf_counter()
            for arguments in given(name):
                states[name], metrics = step(states[name], *arguments, {})
                jax.block_until_ready(metrics)  # as after every record of a run
            seconds[name].append((time.perf_counter() - began) / asked.steps)
    print(
        "| recordings | ms a step: median (min - max) | times resident, median of rounds (quartiles) |\n|---|---|---|"
    )
    resident = np.array(seconds["resident"][1:])
    for name, measured in seconds.items():
        taken = np.array(measured[1:])
        low, middle, high = np.percentile(taken / resident, (25, 50, 75))
        print(f"| {name} | {workload.spread(1e3 * taken)} | {middle:.3f} ({low:.3f} - {high:.3f}) |")
    print(f"\n{machine.describe('jax', 'numpy')}")


if __name__ == "__main__":
    main()
