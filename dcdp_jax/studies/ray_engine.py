"""Runs jobs on the machines of a Ray cluster, which must see the study's folder under the same path."""

import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dcdp_jax.errors import ConfigError
from dcdp_jax.studies.jobs import note_death, start_process, terminate

# How often Ray starts a job again after its machine was lost.
RETRIES = 10
POLL_SECONDS = 0.2
CONNECT_SECONDS = 10


class RayEngine:
    """Engine in which each job is a Ray task, which starts the job's process on its machine.

    If a machine is lost, Ray starts the task on another one, whose process resumes from the files in the study's
    folder. A process on the lost machine ends with Ray's own, or when it finds that it has been replaced.
    """

    def __init__(self, study: ConfigDict) -> None:
        self._study = study
        self._running: dict[Any, Path] = {}

    def __enter__(self) -> "RayEngine":
        ray = import_ray()
        address, cpus, gpus = self._study.address, self._study.cpus_per_group, self._study.gpus_per_group
        handler = signal.getsignal(signal.SIGTERM)
        try:
            host, colon, port = address.rpartition(":")
            if colon:  # fails early; Ray itself would try for minutes
                socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            ray.init(address=address or None, logging_level="WARNING", log_to_driver=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(f"study.address={address!r}: no Ray cluster can be joined there ({error})") from error
        signal.signal(signal.SIGTERM, handler)  # Ray installs its own handler
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(m.get("CPU", 0) >= cpus and m.get("GPU", 0) >= gpus for m in machines):
            ray.shutdown()
            raise ConfigError(
                f"study.cpus_per_group={cpus:g} and study.gpus_per_group={gpus:g}, but no machine of the Ray cluster "
                f"has as many: {', '.join('{:g} and {:g}'.format(m.get('CPU', 0), m.get('GPU', 0)) for m in machines)}"
            )
        task = ray.remote(run_job)
        self._task = task.options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False)
        return self

    def __exit__(self, *_: object) -> None:
        import_ray().shutdown()  # ends the tasks of this study, and the cluster if it was started for this study

    def submit(self, files: Sequence[Path]) -> None:
        """Submits jobs to Ray, which has a queue of its own."""
        for file in files:
            self._running[self._task.remote(file.absolute(), Path.cwd(), self._study.gpus_per_group)] = file

    def poll(self) -> bool:
        """Writes the errors of tasks that have failed; returns whether any tasks are left."""
        ray = import_ray()
        if self._running:
            ended, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            for reference in ended:
                file = self._running.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    note_death(file, " ".join(str(cause).split()))
        return bool(self._running)

    def terminate(self) -> None:
        """Cancels all tasks, and waits for the last."""
        ray = import_ray()
        for reference in self._running:
            ray.cancel(reference)
        if self._running:
            ray.wait(list(self._running), num_returns=len(self._running))


def import_ray() -> Any:
    """Imports Ray; raises ConfigError if the extra `cluster` is not installed."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("study.engine='ray' needs Ray: pip install -e '.[cluster]'") from error
    return ray


def run_job(file: Path, folder: Path, gpus: float) -> None:
    """Trains a job on the machine and GPUs that Ray has chosen, with `folder` as the working directory."""
    for path in (file, folder):
        if not path.exists():
            raise FileNotFoundError(
                f"{socket.gethostname()} has no {path}; a study on a Ray cluster needs a disk that all machines share"
            )
    # Ray cancels a task by SIGINT, which a process ignores if a script started it in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {}
    if 0 < gpus < 1 and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
        environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * gpus:.2f}"
    process = start_process(file, environment, folder)
    try:
        while process.poll() is None:  # unlike process.wait(), this can be cancelled by Ray
            time.sleep(POLL_SECONDS)
    finally:
        terminate([process])
    note_death(file, f"its process on {socket.gethostname()} ended with status {process.returncode}")
