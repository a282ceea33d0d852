"""Processes that train jobs. A job is a file with the trials of one process, most of which differ only in the seed."""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcdp_jax.runs.files import write_atomically
from dcdp_jax.studies.worker import ERROR, has_ended, log_of

# SIGTERM is sent again, because a process that receives it at the very end of one training starts the next.
TERMINATE_EVERY_SECONDS = 5.0


def start_process(
    file: Path, environment: Mapping[str, str], folder: Path | None = None, *, takes_more: bool = False
) -> subprocess.Popen[bytes]:
    """Starts a process that trains a job, writes its log beside the job's file, and ends when this process ends.

    Args:
      file: File of the job.
      environment: Environment variables, in addition to those of this process.
      folder: Working directory; None for that of this process.
      takes_more: Whether the process then waits for further jobs, see `give`, instead of ending.
    """
    # Unbuffered, so that the log of a process that is killed is complete.
    environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
    with log_of(file).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dcdp_jax.studies.worker", *([] if takes_more else [str(file)])],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if takes_more else log,
            stderr=log,
            env=environment,
            cwd=folder,
        )
    if takes_more:
        give(process, file)
    return process


def give(process: subprocess.Popen[bytes], file: Path) -> None:
    """Sends a job to a process that takes more."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # the process has died, which `poll` of the engine finds
        process.stdin.write(f"{file}\n".encode())


def has_answered(process: subprocess.Popen[bytes]) -> bool:
    """Returns whether a process that takes more has finished a job; True once for each job."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 0)
    return bool(ready and process.stdout.readline())


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills a process if it is running, and closes the pipes to it."""
    with process:
        process.kill()


def terminate(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Sends SIGTERM to processes until all have ended."""
    while left := [process for process in processes if process.poll() is None]:
        for process in left:
            process.terminate()
        for process in left:
            try:
                process.wait(TERMINATE_EVERY_SECONDS / len(left))
            except subprocess.TimeoutExpired:
                continue


def note_death(file: Path, cause: str, count: int | None = None) -> bool:
    """Writes an error for the trials that a job's process was training when it died: the first `count`, or all.

    Returns whether trials are left that have not ended.
    """
    folders = [Path(trial["folder"]) for trial in json.loads(file.read_text())["trials"]]
    left = [folder for folder in folders if not has_ended(folder)]
    for folder in left[:count]:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / ERROR, f"{cause}; see {log_of(file)}\n")
    return len(left[:count]) < len(left)
