"""Runs groups in processes of this machine, which share its cores and GPUs."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.studies.groups import note_death, start_process, terminate


class LocalEngine:
    """As many processes at once as `study.workers` says; an `Engine`."""

    def __init__(self, study: ConfigDict) -> None:
        self._workers: int = study.workers
        self._queue: list[Path] = []
        self._running: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *_: object) -> None:
        for process, _file in self._running.values():
            process.kill()

    def submit(self, files: Sequence[Path]) -> None:
        """Puts groups into the queue."""
        self._queue += files

    def poll(self) -> bool:
        """Looks after the processes; says whether groups are left."""
        for place, (process, file) in list(self._running.items()):
            if process.poll() is not None:
                del self._running[place]
                note_death(file, f"its process ended with status {process.returncode}")
        for place in range(self._workers):
            if self._queue and place not in self._running:
                file = self._queue.pop(0)
                self._running[place] = start_on_share(file, place, self._workers), file
        return bool(self._running)

    def terminate(self) -> None:
        """Ends all by SIGTERM."""
        terminate([process for process, _ in self._running.values()])


def start_on_share(file: Path, place: int, workers: int) -> subprocess.Popen[bytes]:
    """Starts a group on its share of the machine."""
    gpus = gpus_available()
    environment = {}
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(share_of(gpus, place, workers))
        if workers > len(gpus) and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
            environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / -(-workers // len(gpus)):.2f}"
    process = start_process(file, environment)
    if hasattr(os, "sched_setaffinity") and workers > 1:
        os.sched_setaffinity(process.pid, share_of(sorted(cores_available()), place, workers))
    return process


def cores_available() -> set[int]:
    """Cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def gpus_available() -> list[str]:
    """CUDA devices, found without starting CUDA in this process."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def share_of(things: Sequence[Any], place: int, workers: int) -> list[Any]:
    """The things that one of several workers may use; shared where there are fewer than workers."""
    if len(things) >= workers:
        return list(np.array_split(np.array(things), workers)[place].tolist())
    return [things[place % len(things)]] if things else []
