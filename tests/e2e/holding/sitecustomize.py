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
import time
from pathlib import Path

GATE = Path(os.environ["HOLD_GATE"])
# Python writes the number of each signal that it handles into a pipe, where any thread can read it.
READ, WRITE = os.pipe()
os.set_blocking(READ, False)
os.set_blocking(WRITE, False)
signal.set_wakeup_fd(WRITE, warn_on_full_buffer=False)
SIGNALS = bytearray()


def hold(event, arguments):
    if event != "os.rename":
        return
    target = os.fsdecode(arguments[1])
    if fnmatch.fnmatch(target, read_pattern()):
        with GATE.with_suffix(".reached").open("a") as reached:
            reached.write(f"{target}\n")
        while read_pattern() and not terminated():
            time.sleep(0.02)


def read_pattern():
    try:
        return GATE.read_text()
    except FileNotFoundError:
        return ""


def terminated():
    """Returns whether SIGTERM has arrived, also where it is the main thread that handles it."""
    with contextlib.suppress(BlockingIOError):
        SIGNALS.extend(os.read(READ, 1024))
    return signal.SIGTERM in SIGNALS


sys.addaudithook(hold)
