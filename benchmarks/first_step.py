"""From the start of Python to the end of the first training step of the full model, without and with compiled programs.

    python benchmarks/first_step.py [--batch 64] [--time 128] [--channels 6 3] [--width 64] [--rounds 3]

Each round is two fresh processes with one new cache of compiled programs: the first finds it empty, the second full.
With PYTHONPATH set to a checkout of another commit it measures that one.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import machine

PHASES = ("import", "initial state", "trace", "compile", "step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--time", type=int, default=128)
    parser.add_argument("--channels", type=int, nargs=2, default=(6, 3))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(phases(asked)))
        return
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {
                "JAX_COMPILATION_CACHE_DIR": cache,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            }
            for runs in found.values():
                began = time.perf_counter()
                command = [sys.executable, *sys.argv, "--child"]
                child = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
                runs.append(json.loads(child.stdout) | {"all": time.perf_counter() - began})
    print(f"| | {' | '.join(PHASES)} | all, s: median (min - max) | processor time, s |\n|---|{'---|' * 7}")
    for name, runs in found.items():
        cells = [f"{statistics.median(run[phase] for run in runs):.1f}" for phase in PHASES]
        every = [run["all"] for run in runs]
        used = statistics.median(run["processor"] for run in runs)
        print(
            f"| {name} | {' | '.join(cells)} | {statistics.median(every):.1f} ({min(every):.1f} - {max(every):.1f}) | "
            f"{used:.1f} |"
        )
    print(f"\n{machine.describe('jax')}")


def phases(asked: argparse.Namespace) -> dict[str, float]:
    """Seconds of each phase in this process, and of all its threads together."""
    times = [time.perf_counter()]

    def done(*_: object) -> None:
        times.append(time.perf_counter())

    import jax
    import numpy as np
    import workload

    from dcdp_jax.train.devices import AXIS, Devices
    from dcdp_jax.train.state import create_state
    from dcdp_jax.train.step import train_step

    done()
    model = workload.make_model(asked.channels, AXIS, classes=6, width=asked.width)
    optimizer = workload.make_optimizer()
    devices = Devices(1)
    state = devices.replicate(create_state(model, optimizer, 0, asked.time, sum(asked.channels)))
    done(jax.block_until_ready(state))
    settings = workload.make_settings(asked.time)
    step = devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=settings)
    signals = devices.replicate(workload.make_signals(np.random.default_rng(0), 10_000, sum(asked.channels)))
    batch = devices.shard({"starts": np.arange(asked.batch), "labels": np.arange(asked.batch) % 6})
    lowered = step.lower(state, signals, batch)
    done()
    compiled = lowered.compile()
    done()
    done(jax.block_until_ready(compiled(state, signals, batch)))
    taken = [after - before for before, after in itertools.pairwise(times)]
    return dict(zip(PHASES, taken, strict=True)) | {"processor": time.process_time()}


if __name__ == "__main__":
    main()
