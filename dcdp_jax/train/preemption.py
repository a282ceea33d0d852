"""Preemption: clusters send SIGTERM before they end a job."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils


class Sigterm:
    """Records SIGTERM in place of ending the process, while it is entered; in the main thread only.

    Attributes:
      received: whether SIGTERM came.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: Any = None

    def __enter__(self) -> "Sigterm":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.received = True


class Termination:
    """Records SIGTERM, so that training can end between two steps.

    Where several processes train together, a signal to any of them ends all after the same step.
    """

    def __init__(self) -> None:
        self._sigterm = Sigterm()
        # JAX's own handler serves several processes; Python allows handlers in the main thread only.
        self._listens = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Termination":
        if self._listens:
            self._sigterm.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listens:
            self._sigterm.__exit__(kind, error, trace)

    def requested(self, step: int) -> bool:
        """Returns whether training should end after this step.

        Args:
          step: number of the step just taken; increases from call to call.
        """
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self._sigterm.received
