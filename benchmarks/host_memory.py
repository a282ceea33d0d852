"""Host memory of a run at its peak: reading the prepared recordings, all that is built of them, and a few steps.

    python benchmarks/host_memory.py [--samples 700000] [--width 64] [--batch 128] [--steps 10]

Recordings of 113 channels are generated and prepared once, as OPPORTUNITY's are. Every other row is a process of its
own that starts from there, with `data.stream` False or True: `cold` compiles its programs, `warm` finds them compiled.
"""

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

ROOT = Path(__file__).parents[1]
SUBJECTS, RUNS = (1, 2, 3), ("ADL1", "ADL2", "ADL3", "ADL4", "ADL5", "Drill")  # all are in the protocol


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=700_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        began = time.perf_counter()
        peaks = write(asked) if asked.child == "preparing" else measure(asked, asked.child == "streamed")
        print(json.dumps({"peaks": peaks, "seconds": time.perf_counter() - began}))
        return
    columns = ("", "imports, GB", "recordings read", "signals in place", "after the steps: the peak", "s")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory(prefix="dcdp_jax-host-memory-") as folder:
        kept = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
        for name in ("preparing", "resident, cold", "resident, warm", "streamed, cold", "streamed, warm"):
            # A process of its own: memory at its peak never falls.
            command = [sys.executable, *sys.argv, "--child", name.partition(",")[0], "--folder", folder]
            child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | kept)
            found = json.loads(child.stdout.splitlines()[-1])
            cells = [f"{gigabytes:.2f}" for gigabytes in found["peaks"]]
            cells[1:1] = ["-"] * (4 - len(cells))
            print(f"| {name} | {' | '.join(cells)} | {found['seconds']:.0f} |", flush=True)
    print(f"\n{machine.describe('jax', 'numpy')}")


def peak() -> float:
    """GB of this process so far, at its peak."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def write(asked: argparse.Namespace) -> list[float]:
    """Prepares generated recordings in the folder's cache, as from files of the publisher."""
    import numpy as np

    from dcdp_jax.data.datasets import DATASETS, opportunity
    from dcdp_jax.data.prepared import load_prepared
    from dcdp_jax.data.recording import Recording, Recordings

    imports = peak()
    rng = np.random.default_rng(0)

    t, c = asked.samples // (len(SUBJECTS) * len(RUNS)), len(opportunity.CHANNELS)
    labels = (np.arange(t) // 100 % len(opportunity.CLASS_NAMES)).astype(np.int32)

    def recording(subject: int, run: str) -> Recording:
        signals = rng.standard_normal((t, c), np.float32)
        tracks = {"locomotion": labels % 4}
        return Recording(signals, labels, subject, run, opportunity.RATE, opportunity.CHANNELS, tracks=tracks)

    (asked.folder / "raw").mkdir()
    (asked.folder / "raw" / "S1-ADL1.dat").touch()
    spec = dataclasses.replace(
        DATASETS["opportunity"],
        read=lambda _: Recordings([recording(s, r) for s in SUBJECTS for r in RUNS], opportunity.CLASS_NAMES),
    )
    load_prepared(spec, str(asked.folder / "raw"), str(asked.folder / "cache"))
    return [imports, peak()]


def measure(asked: argparse.Namespace, stream: bool) -> list[float]:
    """What `train` does before its first step, and some steps."""
    # tensorboardX imports it where it is, at 0.2 GB; this project does not need it.
    sys.modules["torch"] = None

    from dcdp_jax.train import build
    from dcdp_jax.train.input_pipeline import batches_of, feed, shuffled_rows

    sys.path.insert(0, str(ROOT))
    from configs import oppo

    config = oppo.get_config()
    config.data.raw_dir, config.data.cache_dir = str(asked.folder / "raw"), str(asked.folder / "cache")
    config.data.stream, config.model.width, config.train.batch_size = stream, asked.width, asked.batch
    peaks = [peak()]
    place = build.place_signals

    def after_reading(*given):
        peaks.append(peak())
        return place(*given)

    build.place_signals = after_reading
    run = build.prepare(config)
    peaks.append(peak())
    split, steps = run.dataset.splits["train"], min(run.steps_per_epoch, asked.steps)
    rows = shuffled_rows(split, config, 1, steps)
    state = run.devices.replicate(run.initial_state(config.seed))
    batches = (batches_of(split, rows[at : at + 1], run.steps_per_dispatch) for at in range(steps))
    for given in feed(run.signals, batches, run.dataset.window, run.devices):
        state, metrics = run.step(state, *given, {})
    metrics["loss"]["total"].block_until_ready()
    return [*peaks, peak()]


if __name__ == "__main__":
    main()
