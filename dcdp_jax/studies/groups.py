"""A group: trials that differ by seed alone, in a file, and the process that trains them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from dcdp_jax.studies.worker import ERROR, has_ended
from dcdp_jax.train.workdir import write_atomically

# A process that SIGTERM finds just after its training gets it again before the next.
TERMINATE_EVERY_SECONDS = 5.0


class Engine(Protocol):
    """What runs groups somewhere; leaving its context ends those that still run."""

    def __enter__(self) -> "Engine": ...

    def __exit__(self, *_: object) -> None: ...

    def submit(self, files: Sequence[Path]) -> None:
        """Takes groups on, to be run when there is room."""

    def poll(self) -> bool:
        """Starts what there is room for, gives the trials that a dead process left an error, and says whether groups
        are left.
        """

    def terminate(self) -> None:
        """Passes SIGTERM on to all that runs, and returns when it has ended."""


def start_process(file: Path, environment: Mapping[str, str], folder: Path | None = None) -> subprocess.Popen[bytes]:
    """Starts the process that trains a group; its output goes into a file beside the group's.

    Args:
      file: of the group.
      environment: variables that it gets beside those of this process.
      folder: that it runs in; this process's by default.

    Returns:
      The process. It ends as soon as this one does.
    """
    # Unbuffered, so that the log of a process that is killed says how far it was.
    environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
    with log_of(file).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dcdp_jax.studies.worker", str(file)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder,
        )


def terminate(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Sends SIGTERM until all have ended."""
    while left := [process for process in processes if process.poll() is None]:
        for process in left:
            process.terminate()
        for process in left:
            try:
                process.wait(TERMINATE_EVERY_SECONDS / len(left))
            except subprocess.TimeoutExpired:
                continue


def note_death(file: Path, cause: str) -> None:
    """Gives an error to the trials that a group's process left behind when it died."""
    for trial in json.loads(file.read_text())["trials"]:
        folder = Path(trial["folder"])
        if not has_ended(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / ERROR, f"{cause}; see {log_of(file)}\n")


def log_of(file: Path) -> Path:
    """Where the output of a group's process goes."""
    return file.with_suffix(".log")
