"""Runs jobs in processes on this machine, which share its cores and GPUs. Each trains one job after the other."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.studies.jobs import end, give, has_answered, note_death, start_process, terminate

DEVICES = Path("/dev")


class LocalEngine:
    """Engine with `study.workers` processes on this machine."""

    def __init__(self, study: ConfigDict) -> None:
        self._workers: int = study.workers
        self._at_once: int = study.seeds_at_once
        self._queue: list[Path] = []
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._running: dict[int, Path] = {}

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            end(process)

    def submit(self, files: Sequence[Path]) -> None:
        """Puts jobs into the queue."""
        self._queue += files

    def poll(self) -> bool:
        """Gives jobs to free processes and replaces those that died; returns whether jobs are left."""
        for place, process in list(self._processes.items()):
            if process.poll() is not None:
                end(self._processes.pop(place))
                file = self._running.pop(place, None)
                if file and note_death(file, f"its process ended with status {process.returncode}", self._at_once):
                    self._queue.insert(0, file)
            elif place in self._running and has_answered(process):
                del self._running[place]
        for place in range(self._workers):
            if self._queue and place not in self._running:
                file = self._running[place] = self._queue.pop(0)
                if place in self._processes:
                    give(self._processes[place], file)
                else:
                    self._processes[place] = start_on_share(file, place, self._workers)
        return bool(self._running)

    def terminate(self) -> None:
        """Ends all processes by SIGTERM."""
        terminate(list(self._processes.values()))


def start_on_share(file: Path, place: int, workers: int) -> subprocess.Popen[bytes]:
    """Starts a process on its share of the cores and GPUs, with its first job."""
    environment = {}
    if gpus := visible_gpus():
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(share_of(gpus, place, workers))
        if workers > len(gpus) and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
            environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / -(-workers // len(gpus)):.2f}"
    process = start_process(file, environment, takes_more=True)
    if hasattr(os, "sched_setaffinity") and workers > 1:
        os.sched_setaffinity(process.pid, share_of(sorted(os.sched_getaffinity(0)), place, workers))
    return process


def visible_gpus() -> list[str]:
    """Returns the GPUs of this process, as CUDA_VISIBLE_DEVICES names them. Starting CUDA would take their memory."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    # Their files in a container have the host's numbers, and CUDA counts those that are there.
    return [str(i) for i, _ in enumerate(DEVICES.glob("nvidia[0-9]*"))]


def share_of(resources: Sequence[Any], place: int, workers: int) -> list[Any]:
    """Returns the cores or GPUs for the worker with number `place`. If there are fewer than workers, workers share."""
    if len(resources) >= workers:
        return list(np.array_split(np.array(resources), workers)[place].tolist())
    return [resources[place % len(resources)]] if resources else []
