"""Checkpoints of the training state: the last one and the best one, written by a thread and verified when read.

The thread takes the digest of the arrays, has orbax write and commit them, and takes the digests of the files. Orbax's
own asynchronous saving offers no callback after the commit, before which the files are not final. Both digests are
needed: those of the files cover what orbax writes beside the arrays, and that of the arrays covers a checkpoint whose
save was killed between the commit and the digests of its files.
"""

import contextlib
import glob
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from dcdp_jax.distributed import from_first_process, is_first_process
from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.files import DIGESTS, read_digests, sha256, write_digests

T = TypeVar("T")
# Upper bound of what orbax writes beside the arrays of a checkpoint.
METADATA_BYTES = 4 << 20
# Checkpoints that exist at once: the best, the last, and the next while it is written.
MOST_CHECKPOINTS = 3
TRIAL = 0  # number of the checkpoint that `prove` writes and removes
# Folder into which orbax moves a checkpoint before its files are removed, so that none is ever there in part.
REMOVED = "removed"


def digest(tree: Any) -> str:
    """Computes the SHA-256 over the leaves of a pytree: their paths, dtypes, shapes and bytes."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        sha.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def file_digests(folder: Path) -> dict[str, list[str]]:
    """Returns the SHA-256 of every file of a checkpoint, by its path in the folder."""
    return {
        str(path.relative_to(folder)): [sha256(path.read_bytes())]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != DIGESTS
    }


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


class Checkpoints:
    """A folder of numbered checkpoints, in which only the best and the last are kept.

    If several processes train together, all of them call every method, and only the first accesses the folder.
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        """Opens the folder. Unless `read_only`, creates it if needed and removes what a killed save left behind.

        Raises CheckpointError if a checkpoint is damaged.
        """
        self.folder, self._read_only = folder.absolute(), read_only
        self._files = contextlib.ExitStack()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._saving: Future[None] | None = None
        from_first_process(self._open)

    def _open(self) -> None:
        if not self._read_only:
            self.folder.mkdir(parents=True, exist_ok=True)
            # orbax can remove them too, but in a thread that it joins only at the first save.
            for unfinished in self.folder.glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"):
                shutil.rmtree(unfinished)
            self._empty_removed()
        policy = AnyPreservationPolicy(
            [LatestN(1), BestN(get_metric_fn=lambda metrics: (metrics["score"], -metrics["epoch"]), n=1)]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            best_fn=lambda metrics: metrics["score"],
            enable_async_checkpointing=False,
            read_only=self._read_only,
            create=False,
            todelete_subdir=REMOVED,
            # Otherwise orbax waits for the other processes, which do not call it.
            multiprocessing_options=ocp.options.MultiprocessingOptions(active_processes={0})
            if jax.process_count() > 1
            else ocp.options.MultiprocessingOptions(),
        )
        path = self.folder
        if glob.has_magic(str(path)):
            # orbax reads a path with [, * or ? as a glob pattern, and loses the arrays.
            path = Path(self._files.enter_context(tempfile.TemporaryDirectory(prefix="checkpoints-"))) / "link"
            path.symlink_to(self.folder, target_is_directory=True)
        try:
            self._manager = ocp.CheckpointManager(path, options=options)
        except Exception as error:  # orbax raises many kinds for a damaged file
            for folder in self.folder.iterdir():
                self._verify(folder)
            raise CheckpointError(f"{self.folder}: the checkpoints cannot be read ({first_line(error)})") from error
        if not self._read_only:
            self._remove_superseded()

    def _remove_superseded(self) -> None:
        """Removes the trial checkpoint, and old checkpoints that a process did not remove because it was killed.

        The next save would remove them too, but a run that was killed after its last save has no next one.
        """
        found = {number: self._manager.metrics(number) for number in self._manager.all_steps()}
        scores = {number: metrics["score"] for number, metrics in found.items() if metrics and number != TRIAL}
        best = max(scores, key=lambda number: (scores[number], -number), default=TRIAL)
        for number in found:
            if number == TRIAL or (number in scores and number not in (best, max(found))):
                self._delete(number)

    def _delete(self, number: int) -> None:
        self._manager.delete(number)
        self._empty_removed()

    def _empty_removed(self) -> None:
        shutil.rmtree(self.folder / REMOVED, ignore_errors=True)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            if is_first_process():
                self._manager.close()
                self._files.close()

    def numbers(self) -> list[int]:
        """Returns the numbers of the checkpoints, ascending; waits for the save in progress, and raises its error."""

        def saved() -> list[int]:
            self.wait()
            return sorted(self._manager.all_steps())

        return from_first_process(saved)

    def notes(self, number: int) -> dict[str, Any]:
        """Returns what was noted beside the arrays of a checkpoint; raises CheckpointError where it is damaged."""
        return from_first_process(lambda: self._restore(number, check=ocp.args.JsonRestore())["check"]["notes"])

    def prove(self, state: Any, proved: set[Path]) -> None:
        """Saves a state, reads it back and removes it, so that a fault shows before training and not after it.

        `proved` has the parent folders of the runs for which this was done, and that of this run is added. For another
        run in such a folder, as in a study, only the free disk space is checked. Raises OSError if the state could not
        be written or the disk has no room for the checkpoints of a run, and CheckpointError if the state could not be
        read back.
        """
        runs = self.folder.parent.parent

        def prove_here() -> None:
            arrays = jax.tree.map(np.asarray, state)
            self._check_room(arrays, MOST_CHECKPOINTS, "the checkpoints of a run could not be written: they take")
            if runs not in proved:
                self._write(TRIAL, arrays, 0.0, {})
                self._read(TRIAL, arrays)
                self._delete(TRIAL)

        from_first_process(prove_here)
        proved.add(runs)

    def save(self, number: int, state: Any, score: float, notes: Mapping[str, Any] | None = None) -> None:
        """Starts to write a checkpoint atomically, and to remove those that are not needed any more.

        Returns after the previous save has ended and the arrays are copied. Raises OSError if there is no room, or the
        previous checkpoint could not be written.

        Args:
          number: Number of the checkpoint, 1 or more: the finished epochs, or the steps of one within an epoch.
          state: A pytree of arrays.
          score: The checkpoint with the highest score is kept as the best, the earliest of several equal ones.
          notes: JSON that is kept beside the arrays.
        """
        self.wait()
        if is_first_process():
            arrays = jax.tree.map(np.array, state)  # copies: the next training step overwrites the buffers of the state
            self._check_room(arrays, 1, f"checkpoint {number} could not be written: it takes")
            self._saving = self._thread.submit(self._write, number, arrays, score, dict(notes or {}))

    def wait(self) -> None:
        """Waits until the save in progress is on disk; raises OSError if it could not be written."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def check(self) -> None:
        """Raises the OSError of a save that has failed. Does not wait for a save in progress."""
        if self._saving is not None and self._saving.done():
            self.wait()

    def _check_room(self, arrays: Any, copies: int, problem: str) -> None:
        needed = copies * (sum(x.nbytes for x in jax.tree.leaves(arrays)) + METADATA_BYTES)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                f"{self.folder}: {problem} up to {needed:,} bytes and {free:,} are free; make room, and the same "
                "command resumes"
            )

    def _write(self, number: int, arrays: Any, score: float, notes: dict[str, Any]) -> None:
        try:
            self._manager.save(
                number,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays),
                    check=ocp.args.JsonSave({"sha256": digest(arrays), "notes": notes}),
                ),
                metrics={"score": score, "epoch": number},
            )
        except Exception as error:  # orbax and tensorstore raise many kinds
            raise OSError(f"{self.folder}: checkpoint {number} could not be written") from error
        write_digests(self.folder / str(number), file_digests(self.folder / str(number)))
        self._empty_removed()

    def restore(self, number: int, like: T) -> T:
        """Reads and verifies a checkpoint.

        Returns NumPy arrays with the structure, shapes and dtypes of `like`. Raises CheckpointError, which says what to
        do, if the checkpoint is damaged or belongs to another model.
        """
        return from_first_process(lambda: self._read(number, like))

    def _read(self, number: int, like: T) -> T:
        target = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        found = self._restore(number, state=ocp.args.StandardRestore(target), check=ocp.args.JsonRestore())
        if digest(found["state"]) != found["check"]["sha256"]:
            raise self._damaged(self.folder / str(number), "the arrays are not those that were saved")
        return found["state"]

    def _restore(self, number: int, **items: Any) -> Any:
        self.wait()
        if not (self.folder / str(number)).is_dir():
            raise CheckpointError(
                f"{self.folder}: the checkpoint {number} is missing; restore it from a copy, or train again in another "
                "--workdir"
            )
        # Verified before orbax opens the files, because after a failed read its other reads continue in threads.
        self._verify(self.folder / str(number))
        try:
            return self._manager.restore(number, args=ocp.args.Composite(**items))
        except Exception as error:  # orbax and tensorstore raise many kinds for a damaged file
            raise CheckpointError(
                f"{self.folder / str(number)}: this checkpoint cannot be read with this model ({first_line(error)})"
            ) from error

    def _verify(self, folder: Path) -> None:
        """Compares the files of a checkpoint with their digests, if they have any: a save may be killed before them."""
        try:
            expected, found = read_digests(folder), file_digests(folder)
        except CheckpointError:
            raise self._damaged(folder, f"{DIGESTS} has changed since it was written") from None
        for name, digests in expected.items():
            if name not in found:
                raise self._damaged(folder, f"{name} is missing")
            if found[name] != digests:
                raise self._damaged(folder, f"{name} has changed since it was written")

    def _damaged(self, folder: Path, reason: str) -> CheckpointError:
        """Returns the error for a damaged checkpoint, which says what to do."""
        numbers = sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        earlier = [number for number in numbers if folder.name.isdigit() and number < int(folder.name)]
        before = f"epoch {earlier[-1]}" if earlier else "what was saved before"
        return CheckpointError(
            f"{folder}: this checkpoint is damaged: {reason}; restore it from a copy, or move this folder away to "
            f"resume from {before}"
        )
