"""What a trial of a study takes beside its training steps: start, data, tracing, compilation, files.

    PYTHONPATH=. python benchmarks/study_overhead.py [--width 16] [--rows 4] [--seeds 2] [--steps 8] [--workdir DIR]

The same little study on synthetic data twice, each in a new folder: with an empty cache of compiled programs, and with
the one that the first has filled. Its rows have one shape and differ in the learning rate, in alpha and in the
normalisation of the data. What a trial takes is counted from the end of the one before in its process, or from the
start of the process, to its result; of steps and evaluations only what the first takes more than the others' median.
With PYTHONPATH set to a checkout of another commit it measures that one.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine

ROWS = {
    "first": {},
    "learning rate": {"optimizer.learning_rate": 0.002},
    "alpha": {"cgm.alpha": 0.5},
    "min-max": {"data.normalize": "minmax"},
}
RECORDS, SPAWNED = "STUDY_OVERHEAD_RECORDS", "STUDY_OVERHEAD_SPAWNED"
WORKER = ["-m", "dcdp_jax.studies.worker"]
COLUMNS = ("start", "data", "initial state", "step", "evaluation", "checkpoints", "rest")


def main() -> None:
    if RECORDS in os.environ:
        measured_worker()
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--rows", type=int, default=4, choices=range(1, 1 + len(ROWS)))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="of training, in one epoch; 2 or more")
    parser.add_argument("--workdir", type=Path, help="keeps the folders of the two studies")
    asked = parser.parse_args()
    subprocess.Popen = MeasuredProcess
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            RECORDS: str(Path(folder) / "records.jsonl"),
            "JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        }
        print(
            f"| cache | row, seed | process | {' | '.join(COLUMNS)} | all, s | of it compiler, s | processor time, s |"
        )
        print(f"|---|---|---|{'---|' * (len(COLUMNS) + 3)}")
        for cache in ("empty", "full"):
            run(asked, (asked.workdir or Path(folder)) / cache)
            records = Path(os.environ[RECORDS])
            show(cache, [json.loads(line) for line in records.read_text().splitlines()])
            records.unlink()
    del os.environ[RECORDS]
    print(f"\n{machine.describe('jax')}")


def run(asked: argparse.Namespace, workdir: Path) -> None:
    """The study."""
    from configs import default as full
    from configs import demo
    from configs.studies import default
    from dcdp_jax.studies.engine import run_study

    config = default.get_config()
    data = demo.get_config()
    data.data.synthetic.subjects = 6
    data.data.synthetic.minutes = 4.0
    data.model.update({name: value for name, value in full.get_config().model.items() if name != "branches"})
    data.model.width = asked.width
    data.train.epochs = 1
    data.train.batch_size = 512 // asked.steps
    config.datasets.synthetic = data
    config.study.seeds = tuple(range(asked.seeds))
    config.study.stages = (default.stage("", dict(list(ROWS.items())[: asked.rows])),)
    workdir.mkdir(parents=True)
    with contextlib.redirect_stdout(sys.stderr):
        run_study(config, workdir)


class MeasuredProcess(subprocess.Popen):
    """A process that runs this file where it was to run a study's worker."""

    def __init__(self, command: list[str], **options: Any) -> None:
        if command[1:3] == WORKER:
            command = [command[0], __file__, *command[3:]]
            options["env"] = options["env"] | {SPAWNED: str(time.time())}
        super().__init__(command, **options)


def measured_worker() -> None:
    """A study's worker that notes what it spends its time on."""
    import jax

    from dcdp_jax.data import dataset
    from dcdp_jax.studies import worker
    from dcdp_jax.train.devices import Devices

    calls: list[tuple[str, float, float, float]] = []
    compiler = [0.0]
    trial = {"began": float(os.environ[SPAWNED]), "processor": 0.0, "process": "new"}

    def listen(event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiler[0] += seconds

    jax.monitoring.register_event_duration_secs_listener(listen)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            began, used, compiled = time.time(), time.process_time(), compiler[0]
            found = jax.block_until_ready(function(*arguments, **options))
            calls.append((name, time.time() - began, time.process_time() - used, compiler[0] - compiled))
            return found

        return call

    def train(*arguments: Any) -> None:
        original_train(*arguments)
        now, used = time.time(), time.process_time()
        record = trial | {"trial": arguments[0][0][1].name, "calls": calls}
        record |= {"seconds": now - trial["began"], "used": used - trial["processor"], "compiler": compiler[0]}
        with open(os.environ[RECORDS], "a") as file:
            file.write(json.dumps(record) + "\n")
        trial.update(began=now, processor=used, process="kept")
        calls.clear()
        compiler[0] = 0.0

    def map_step(self: Devices, step: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        return timed("evaluation" if "window" in options else "step", original_map_step(self, step, **options))

    dataset.build_dataset = timed("data", dataset.build_dataset)
    from dcdp_jax.train import build, trainer

    calls.append(("start", time.time() - trial["began"], time.process_time(), 0.0))
    original_train, original_map_step = trainer.train_runs, Devices.map_step
    trainer.train_runs, Devices.map_step = train, map_step
    build.create_state = timed("initial state", build.create_state)
    for method in ("__init__", "save", "restore", "__exit__"):
        setattr(trainer.Checkpoints, method, timed("checkpoints", getattr(trainer.Checkpoints, method)))
    worker.main()


def show(cache: str, records: list[dict[str, Any]]) -> None:
    """A line per trial."""
    for record in records:
        cells, used, everything = dict.fromkeys(COLUMNS, 0.0), record["used"], record["seconds"]
        for name in COLUMNS:
            found = [call for call in record["calls"] if call[0] == name]
            if name in ("step", "evaluation"):
                one, one_used = (statistics.median(call[place] for call in found[1:]) for place in (1, 2))
                everything -= one * len(found)
                used -= one_used * len(found)
                cells[name] = found[0][1] - one
            else:
                cells[name] = sum(call[1] for call in found)
        cells["rest"] = everything - sum(cells.values())
        _, row, _, seed, _ = record["trial"].split("-")
        print(
            f"| {cache} | {row}, {seed.removeprefix('seed')} | {record['process']} | "
            f"{' | '.join(f'{cells[name]:.1f}' for name in COLUMNS)} | {everything:.1f} | {record['compiler']:.1f} | "
            f"{used:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
