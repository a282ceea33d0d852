"""A process that trains some trials: `python -m dcdp_jax.studies.worker GROUP.json`.

Trials that differ by seed alone share data and compiled programs, one after the other or several at once. A trial
that fails leaves its error in its folder, and the rest goes on. The process ends when its standard input does, that is,
with the process that started it.
"""

import contextlib
import json
import os
import shutil
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dcdp_jax.train.workdir import CHECKPOINTS, RESULT, write_atomically

ERROR = "error.txt"
OWNER_SECONDS = 1.0  # less than a process takes until it first writes


def as_config(plain: Any) -> Any:
    """A config from its plain data, with tuples where JSON has lists."""
    if isinstance(plain, dict):
        return ConfigDict({name: as_config(value) for name, value in plain.items()})
    return tuple(map(as_config, plain)) if isinstance(plain, list) else plain


def has_ended(folder: Path) -> bool:
    """Whether the trial of a folder has a result or an error."""
    return (folder / RESULT).exists() or (folder / ERROR).exists()


def train_trials(
    trials: Sequence[tuple[ConfigDict, Path]],
    keep_checkpoints: bool,
    seeds_at_once: int = 1,
    divide_seeds: bool = False,
) -> None:
    """Trains each that has not ended.

    Args:
      trials: config and folder of each; they differ by seed alone. One that has a result or an error is left alone.
      keep_checkpoints: False removes them once the result is written.
      seeds_at_once: how many one program trains.
      divide_seeds: whether several devices divide those, and not the batch of each.
    """
    left = [(config, folder) for config, folder in trials if not has_ended(folder)]
    if not left:
        return
    # After the process has found its devices, and after the command line of the study is known to be sound.
    from dcdp_jax.data.source import cache_folder
    from dcdp_jax.train.config import RANDOM_FOREST, check_config
    from dcdp_jax.train.loop import prepare, train
    from dcdp_jax.train.parallel import keep_compiled_programs
    from dcdp_jax.train.together import train_together

    model = left[0][0].model
    # A random partition of the channels depends on the seed.
    one_network = model.name != RANDOM_FOREST and model.partition != "random"
    if seeds_at_once > 1 and not one_network:
        print(f"model.name={model.name}, model.partition={model.partition}: no two seeds share a program; one by one")
        seeds_at_once, divide_seeds = 1, False
    run = None
    for first in range(0, len(left), seeds_at_once):
        together = left[first : first + seeds_at_once]
        config, folder = together[0]
        try:
            keep_compiled_programs(cache_folder(config.data.cache_dir))
            check_config(config)
            if model.name != RANDOM_FOREST and (run is None or not one_network):
                run = prepare(config, divide_seeds)
            if run and (len(together) > 1 or divide_seeds):
                train_together(together, run, note_failure)
            else:
                train(config, folder, run)
        except Exception as error:
            for _, folder in together:
                if not has_ended(folder):
                    note_failure(folder, error)
        for _, folder in together:
            if not keep_checkpoints and (folder / RESULT).exists():
                shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def note_failure(folder: Path, error: Exception) -> None:
    """Leaves the error of a trial in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(traceback.format_exception(error))
    write_atomically(folder / ERROR, f"{type(error).__name__}: {error}\n\n{text}")
    print(f"{folder.name}: {error}", file=sys.stderr)


def end_with_parent() -> None:
    """Ends this process as soon as standard input is closed."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def end_when_replaced(file: Path) -> None:
    """Ends this process as soon as another has been started for its group.

    A Ray cluster that has lost the network to a machine starts the group on another, and both may reach the disk.

    Args:
      file: of the group.
    """
    owner, own = file.with_suffix(".owner"), f"process {os.getpid()} of {socket.gethostname()}"
    write_atomically(owner, own)
    print(own, flush=True)

    def wait() -> None:
        while True:
            time.sleep(OWNER_SECONDS)
            with contextlib.suppress(OSError):  # a disk that does not answer says nothing
                if (other := owner.read_text()) != own:
                    print(f"ends here, for {other} has taken over", flush=True)
                    os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Reads the group and trains it."""
    file = Path(sys.argv[1])
    end_with_parent()
    end_when_replaced(file)
    group = json.loads(file.read_text())
    trials = [(as_config(trial["config"]), Path(trial["folder"])) for trial in group["trials"]]
    train_trials(trials, group["keep_checkpoints"], group["seeds_at_once"], group["divide_seeds"])


if __name__ == "__main__":
    main()
