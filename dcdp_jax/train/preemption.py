"""Preemption. Clusters send SIGTERM before they end a job."""

import signal
import threading
from types import FrameType
from typing import Any

from jax.experimental import multihost_utils


class Termination:
    """Context manager that records SIGTERM instead of ending the process, so that training can stop between two steps.

    If several processes train together, a signal to any of them stops all after the same step.

    Attributes:
      received: whether SIGTERM came to this process.
    """

    def __init__(self, processes: int = 1) -> None:
        """Starts without a signal. Processes is the number of processes that train together."""
        self.received = False
        self._processes = processes
        self._before: Any = None

    def __enter__(self) -> "Termination":
        # JAX's own handler serves several processes; Python allows handlers in the main thread only.
        if self._processes == 1 and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.received = True

    def requested(self, step: int) -> bool:
        """Returns whether training should stop after this step. The step must increase from call to call."""
        if self._processes > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self.received
