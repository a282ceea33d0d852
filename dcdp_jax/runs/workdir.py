"""The folder of a run: the check that it belongs to a config, and the lock of the process that writes into it."""

import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dcdp_jax.config import differences
from dcdp_jax.distributed import from_first_process
from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs import files
from dcdp_jax.runs.reading import read_config

LOCK = ".lock"
# Files that may exist before a run has begun: the pages of --mode=describe and --mode=portability, and what a process
# leaves if it is killed before it writes config.json.
BEFORE = (files.DESCRIPTION, files.PORTABILITY, files.DIGESTS, LOCK, files.UNFINISHED)


def check_workdir(workdir: Path, config: dict[str, Any], ignore: tuple[str, ...] = ()) -> None:
    """Checks that a workdir is new or belongs to this config, as plain data; changes nothing.

    Fields whose names begin with one of `ignore` may differ. Raises CheckpointError if the workdir holds other files,
    or a run of another config; the message lists the differences.
    """
    if not (workdir / files.CONFIG).exists():
        refuse_others(workdir, BEFORE, files.CONFIG)
        return
    if different := [line for line in differences(read_config(workdir), config) if not line.startswith(ignore)]:
        raise CheckpointError(
            f"{workdir} holds a run of another config ({'; '.join(different)}); choose another --workdir"
        )


def refuse_others(workdir: Path, allowed: Sequence[str], missing: str) -> None:
    """Raises CheckpointError if a workdir, in which something is `missing`, holds files other than those allowed."""
    if workdir.exists() and not (workdir.is_dir() and all(any(map(p.match, allowed)) for p in workdir.iterdir())):
        raise CheckpointError(f"{workdir} is not an empty folder and holds no {missing}; choose another --workdir")


def make_workdir(workdir: Path, config: dict[str, Any]) -> None:
    """Creates a workdir that `check_workdir` has passed, and its config.json, unless they exist."""
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / files.CONFIG).exists():
        files.write_recorded(workdir, files.CONFIG, files.as_json(config))


@contextlib.contextmanager
def claim(workdir: Path, config: dict[str, Any]) -> Iterator[None]:
    """Holds the lock of a workdir while a process writes into it, and removes what killed processes left unfinished.

    If several processes train together, all of them call this, and the first holds the lock. A new workdir is removed
    again if it stays empty. Raises CheckpointError as `check_workdir` and `locked` do.
    """

    def remove_empty() -> None:
        with contextlib.suppress(OSError):  # not empty
            workdir.rmdir()

    def enter() -> None:
        check_workdir(workdir, config)
        if not workdir.exists():
            workdir.mkdir(parents=True, exist_ok=True)
            held.callback(remove_empty)
        held.enter_context(locked(workdir))
        check_workdir(workdir, config)  # another process may have made it meanwhile
        files.remove_unfinished(workdir)

    with contextlib.ExitStack() as held:
        from_first_process(enter)
        yield


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the lock of a folder, which the kernel releases when the process ends, even if it is killed.

    Raises CheckpointError if another process holds it; the message names the process, its host, and since when.
    """
    path = workdir / LOCK
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise CheckpointError(
                    f"{workdir} is in use by {holder}; wait until it ends, or choose another --workdir"
                ) from None
            print(f"{workdir}: its file system has no locks ({error}); start no second run in it", file=sys.stderr)
            yield
            return
        # The previous holder removes the file before it releases the lock, and a lock on a removed file is useless.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()
    with file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
