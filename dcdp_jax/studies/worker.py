"""A process that trains groups of trials, one after the other: `python -m dcdp_jax.studies.worker [GROUP.json]`.

With a file it trains that group and ends. Without, it reads names of files from its standard input, a line each, and
repeats each on its standard output once the group is done; all else that it says goes into the group's log.

Trials that differ by seed alone share data and compiled programs, one after the other or several at once. A trial
that fails leaves its error in its folder, and the rest goes on. The process ends when its standard input does, that is,
with the process that started it.
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
OWNER_SECONDS = 1.0  # less than a process takes until it first writes

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
    """Returns where the output of a process goes while it trains a group."""
    return file.with_suffix(".log")


def dataset_of(data: ConfigDict) -> Any:
    """Builds the data set of a config's `data`; the last one is kept, as most groups of a study have the same."""
    from dcdp_jax.data.dataset import build_dataset

    fields = json.dumps(data.to_dict(), sort_keys=True)
    if fields not in _DATASETS:
        _DATASETS.clear()  # before the next is read, so that never two are held
        _DATASETS[fields] = build_dataset(data)
    return _DATASETS[fields]


def run_of(config: ConfigDict, divide_seeds: bool) -> Any:
    """Returns what `prepare` builds from a config; the last is kept, as most rows differ in hyperparameters alone."""
    import jax

    from dcdp_jax.train.build import prepare
    from dcdp_jax.train.hyperparameters import program_of

    key = program_of(config), divide_seeds
    if key not in _RUNS:
        # Before the next is built: it holds a data set, and some 100 MB of compiled programs.
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
    """Trains each trial, config and folder, that has neither a result nor an error.

    The trials differ by seed alone, or are of one program, which trains `seeds_at_once` at a time; with divide_seeds
    several devices divide these, and not the batch. Checkpoints that are not kept are removed after the result.
    """
    left = [(config, folder) for config, folder in trials if not has_ended(folder)]
    if not left:
        return
    # After the process has found its devices, and after the command line of the study is known to be sound.
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
    """Returns a queue of the files named on standard input; ends this process as soon as that is closed."""
    files: queue.Queue[Path] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            files.put(Path(line.rstrip("\n")))
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return files


def end_when_replaced(file: Path) -> threading.Event:
    """Ends this process as soon as another has been started for its group; returns an event to set after the group.

    A Ray cluster that has lost the network to a machine starts the group on another, and both may reach the disk.
    """
    owner, own = file.with_suffix(".owner"), f"process {os.getpid()} of {socket.gethostname()}"
    write_atomically(owner, own)
    print(own, flush=True)
    done = threading.Event()

    def wait() -> None:
        while not done.wait(OWNER_SECONDS):
            with contextlib.suppress(OSError):  # a disk that does not answer says nothing
                if (other := owner.read_text()) != own:
                    print(f"ends here, for {other} has taken over", flush=True)
                    os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    return done


def train_group(file: Path) -> bool:
    """Trains the trials of a group that have not ended; returns whether none of them failed."""
    done = end_when_replaced(file)
    group = json.loads(file.read_text())
    trials = [(as_config(trial["config"]), Path(trial["folder"])) for trial in group["trials"]]
    left = [folder for _, folder in trials if not has_ended(folder)]
    train_trials(trials, group["keep_checkpoints"], group["seeds_at_once"], group["divide_seeds"])
    done.set()
    return not any((folder / ERROR).exists() for folder in left)


def main() -> None:
    """Trains the group that is named, or all that are given. The exit status is 1 after a trial that failed."""
    given = given_files()
    if sys.argv[1:]:
        sys.exit(0 if train_group(Path(sys.argv[1])) else 1)
    answers = os.fdopen(os.dup(1), "w")
    while True:
        file = given.get()
        sys.stdout.flush()
        sys.stderr.flush()
        with log_of(file).open("ab") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
        sys.argv[1:] = [str(file)]  # result.json has the command, and this one does the same
        if not train_group(file):
            sys.exit(1)  # what has failed may have left less memory, or a GPU in a state in which every trial fails
        print(file, file=answers, flush=True)


if __name__ == "__main__":
    main()
