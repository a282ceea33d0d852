"""A process that trains jobs, one after the other: `python -m dcdp_jax.studies.worker [JOB.json]`.

With a file it trains that job and ends. Without one, it reads names of files from its standard input, one per line,
and writes each name to its standard output when the job is done; all other output goes into the job's log.

Trials that differ only in the seed share data and compiled programs, one after the other or several at once. The error
of a failed trial is written into its folder, and the others continue. The process ends when its standard input is
closed, that is, when the process that started it ends.
"""

import contextlib
import json
import os
import queue
import shutil
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dcdp_jax.runs.files import CHECKPOINTS, RESULT, write_atomically

ERROR = "error.txt"
OWNER_SECONDS = 1.0  # shorter than the time from the start of a process to its first write

_DATASETS: dict[str, Any] = {}
_RUNS: dict[tuple[str, bool], Any] = {}


def as_config(plain: Any) -> Any:
    """Makes a config from its plain data, with tuples where JSON has lists."""
    if isinstance(plain, dict):
        return ConfigDict({name: as_config(value) for name, value in plain.items()})
    return tuple(map(as_config, plain)) if isinstance(plain, list) else plain


def has_ended(folder: Path) -> bool:
    """Returns whether the trial of a folder has a result or an error."""
    return (folder / RESULT).exists() or (folder / ERROR).exists()


def log_of(file: Path) -> Path:
    """Returns the path of the log of a job."""
    return file.with_suffix(".log")


def dataset_of(data: ConfigDict) -> Any:
    """Builds the data set of a config's `data`. The last one is cached, because most jobs of a study share it."""
    from dcdp_jax.data.dataset import build_dataset

    fields = json.dumps(data.to_dict(), sort_keys=True)
    if fields not in _DATASETS:
        _DATASETS.clear()  # before the next is read, so that only one is in memory
        _DATASETS[fields] = build_dataset(data)
    return _DATASETS[fields]


def run_of(config: ConfigDict, divide_seeds: bool) -> Any:
    """Returns `prepare` of a config. The last result is cached, because most rows differ only in hyperparameters."""
    import jax

    from dcdp_jax.train.build import prepare
    from dcdp_jax.train.hyperparameters import program_of

    key = program_of(config), divide_seeds
    if key not in _RUNS:
        # Freed before the next is built, because it holds a data set and about 100 MB of compiled programs.
        _RUNS.clear()
        jax.clear_caches()
        _RUNS[key] = prepare(config, dataset_of(config.data), divide_seeds)
    return _RUNS[key]


def train_trials(
    trials: Sequence[tuple[ConfigDict, Path]],
    keep_checkpoints: bool,
    seeds_at_once: int = 1,
    divide_seeds: bool = False,
) -> None:
    """Trains the trials that have neither a result nor an error.

    Args:
      trials: Config and folder of each trial. They differ only in the seed or, with seeds_at_once above 1, only in seed
        and hyperparameters, so that one program can train them.
      keep_checkpoints: Whether checkpoints are kept after a trial has its result.
      seeds_at_once: Number of trials that are trained at a time.
      divide_seeds: Whether several devices divide these trials, and not the batch.
    """
    left = [(config, folder) for config, folder in trials if not has_ended(folder)]
    if not left:
        return
    # Heavy imports wait until a trial is left to train.
    from dcdp_jax.config import check_config, is_network
    from dcdp_jax.data.download import cache_folder
    from dcdp_jax.train.devices import keep_compiled_programs
    from dcdp_jax.train.trainer import train_runs

    model = left[0][0].model
    # A random partition of the channels depends on the seed.
    if seeds_at_once > 1 and (not is_network(model.name) or model.partition == "random"):
        print(f"model.name={model.name}, model.partition={model.partition}: no two seeds share a program; one by one")
        seeds_at_once, divide_seeds = 1, False
    for first in range(0, len(left), seeds_at_once):
        together = left[first : first + seeds_at_once]
        config, _ = together[0]
        try:
            keep_compiled_programs(cache_folder(config.data.cache_dir))
            check_config(config)
            train_runs(together, run_of(config, divide_seeds) if is_network(model.name) else None, note_failure)
        except Exception as error:
            for _, folder in together:
                if not has_ended(folder):
                    note_failure(folder, error)
        for _, folder in together:
            if not keep_checkpoints and (folder / RESULT).exists():
                shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def note_failure(folder: Path, error: Exception) -> None:
    """Writes the error of a trial into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(traceback.format_exception(error))
    write_atomically(folder / ERROR, f"{type(error).__name__}: {error}\n\n{text}")
    print(f"{folder.name}: {error}", file=sys.stderr)


def given_files() -> queue.Queue[Path]:
    """Returns a queue of the files named on standard input. Ends this process when standard input is closed."""
    files: queue.Queue[Path] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            files.put(Path(line.rstrip("\n")))
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return files


def end_when_replaced(file: Path) -> threading.Event:
    """Ends this process when another one has been started for its job; returns an event to set after the job.

    A Ray cluster that loses the connection to a machine starts the job on another one, and both may write to the
    shared disk.
    """
    owner, own = file.with_suffix(".owner"), f"process {os.getpid()} of {socket.gethostname()}"
    write_atomically(owner, own)
    print(own, flush=True)
    done = threading.Event()

    def wait() -> None:
        while not done.wait(OWNER_SECONDS):
            with contextlib.suppress(OSError):  # a disk that does not respond tells nothing about the owner
                if (other := owner.read_text()) != own:
                    print(f"ends here, for {other} has taken over", flush=True)
                    os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    return done


def train_job(file: Path) -> bool:
    """Trains the trials of a job that have not ended; returns whether none of them failed."""
    done = end_when_replaced(file)
    job = json.loads(file.read_text())
    trials = [(as_config(trial["config"]), Path(trial["folder"])) for trial in job["trials"]]
    left = [folder for _, folder in trials if not has_ended(folder)]
    train_trials(trials, job["keep_checkpoints"], job["seeds_at_once"], job["divide_seeds"])
    done.set()
    return not any((folder / ERROR).exists() for folder in left)


def main() -> None:
    """Trains the job named on the command line, or those named on standard input. A failed trial gives status 1."""
    given = given_files()
    if sys.argv[1:]:
        sys.exit(0 if train_job(Path(sys.argv[1])) else 1)
    answers = os.fdopen(os.dup(1), "w")
    while True:
        file = given.get()
        sys.stdout.flush()
        sys.stderr.flush()
        with log_of(file).open("ab") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
        sys.argv[1:] = [str(file)]  # the command in result.json trains this job
        if not train_job(file):
            sys.exit(1)  # a failed trial may leave less memory, or a GPU in a state in which every trial fails
        print(file, file=answers, flush=True)


if __name__ == "__main__":
    main()
