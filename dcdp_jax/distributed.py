"""Training in several processes: how they join, and what the first process does for the others.

All processes compute the same. Only the first reads the data and accesses the run's folder, and it broadcasts what the
others need.
"""

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from dcdp_jax.errors import ConfigError

T = TypeVar("T")
# A process without a heartbeat for this long is considered lost, and the others end.
LOST_AFTER_SECONDS = 20
START_SECONDS = 300


def join_processes(parallel: ConfigDict) -> None:
    """Joins the other processes of the run if `parallel.distributed` is set. Must be called before JAX is used.

    With an empty `parallel.coordinator` JAX finds the processes from Slurm, Open MPI or Kubernetes. Raises ConfigError
    if they cannot be found.
    """
    if not parallel.distributed:
        return
    named = {}
    if parallel.coordinator:
        named = {
            "coordinator_address": parallel.coordinator,
            "num_processes": parallel.processes,
            "process_id": parallel.process_id,
        }
    try:
        jax.distributed.initialize(
            **named,
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=LOST_AFTER_SECONDS,
            shutdown_timeout_seconds=LOST_AFTER_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"parallel.distributed=True, but the other processes were not found ({error}); outside Slurm, Open MPI and "
            "Kubernetes give parallel.coordinator=HOST:PORT, parallel.processes and parallel.process_id"
        ) from error


def is_first_process() -> bool:
    """Returns whether this process is the one that reads and writes files."""
    return jax.process_index() == 0


@contextlib.contextmanager
def only_first_prints() -> Iterator[None]:
    """Discards standard output in all processes but the first."""
    if is_first_process():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def from_first_process(make: Callable[[], T]) -> T:
    """Calls a function in the first process only, and returns its value, or raises its error, in all processes.

    All processes must make this call; the value must be one that can be pickled.
    """
    if jax.process_count() == 1:
        return make()
    content = np.zeros(0, np.uint8)
    if is_first_process():
        value, failure = None, None
        try:
            value = make()
        except Exception as error:
            failure = error
        content = np.frombuffer(pickle.dumps((value, failure)), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.uint32(content.size)))
    content = multihost_utils.broadcast_one_to_all(content if is_first_process() else np.zeros(size, np.uint8))
    value, failure = pickle.loads(np.asarray(content).tobytes())
    if failure is not None:
        raise failure
    return value
