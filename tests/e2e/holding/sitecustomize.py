"""Makes a process wait in the middle of its work, where a test asked for it.

Python imports this module at the start of every process whose PYTHONPATH has this folder; `tests.e2e.running.Hold` puts
it there. A process that is about to rename a file to a path that matches the pattern in the file HOLD_GATE notes that
path and waits until the file is removed, or until SIGTERM arrives. Everything that a run keeps is renamed into its
place, so every moment that a test needs has such a path.
"""

import contextlib
import fnmatch
import os
import signal
import sys
import threading
import time
from pathlib import Path

GATE = Path(os.environ["HOLD_GATE"])


def hold(event, arguments):
    if event != "os.rename":
        return
    target = os.fsdecode(arguments[1])
    if fnmatch.fnmatch(target, read_pattern()):
        with GATE.with_suffix(".reached").open("a") as reached:
            reached.write(f"{target}\n")
        with noting_sigterm() as received:
            while read_pattern() and not received:
                time.sleep(0.02)


def read_pattern():
    try:
        return GATE.read_text()
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def noting_sigterm():
    """Yields a list that is no longer empty once SIGTERM has arrived and been handled."""
    received = []
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield received
        return

    def note(number, frame):
        handler(number, frame)
        received.append(number)

    signal.signal(signal.SIGTERM, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, handler)


sys.addaudithook(hold)
