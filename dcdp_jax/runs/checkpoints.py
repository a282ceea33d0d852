"""Checkpoints of the training state: the last one and the best one, verified when they are read."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from dcdp_jax.distributed import from_first_process, is_first_process
from dcdp_jax.errors import CheckpointError

T = TypeVar("T")
# At most what orbax writes beside the arrays.
METADATA_BYTES = 4 << 20
# In each checkpoint's folder: the SHA-256 of every other file in it.
FILES = "files.json"


def digest(tree: Any) -> str:
    """SHA-256 over the leaves of a pytree: their paths, dtypes, shapes and bytes."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        sha.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by its path in the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != FILES
    }


def first_difference(expected: dict[str, str], found: dict[str, str]) -> str | None:
    """Names the first file that is missing or was changed since; None where there is none."""
    for name, sha256 in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != sha256:
            return f"{name} has changed since it was written"
    return None


class Checkpoints:
    """One folder of numbered checkpoints, of which only the best and the last stay.

    Where several processes train together, all of them call every method, and the first alone touches the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Opens or makes the folder; what a killed save left behind is removed.

        Args:
          folder: where they are.
        """
        self.folder = folder.absolute()
        from_first_process(self._open)

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        policy = AnyPreservationPolicy(
            [LatestN(1), BestN(get_metric_fn=lambda metrics: (metrics["score"], -metrics["epoch"]), n=1)]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            best_fn=lambda metrics: metrics["score"],
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
            create=False,
            # Or orbax would wait for processes that never come here.
            multiprocessing_options=ocp.options.MultiprocessingOptions(active_processes={0})
            if jax.process_count() > 1
            else ocp.options.MultiprocessingOptions(),
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        if is_first_process():
            self._manager.close()

    def numbers(self) -> list[int]:
        """Those of the checkpoints, ascending."""
        return from_first_process(lambda: sorted(self._manager.all_steps()))

    def notes(self, number: int) -> dict[str, Any]:
        """What was noted beside the arrays of a checkpoint."""
        item = ocp.args.Composite(check=ocp.args.JsonRestore())
        return from_first_process(lambda: self._manager.restore(number, args=item)["check"]["notes"])

    def save(self, number: int, state: Any, score: float, notes: Mapping[str, Any] | None = None) -> None:
        """Writes a checkpoint, whole or not at all, and removes those no longer wanted.

        Args:
          number: epochs finished, or whatever the checkpoints of this folder are numbered by.
          state: a pytree of arrays.
          score: validation score by which the best is kept; the earliest of several equal ones.
          notes: JSON to keep beside the arrays.

        Raises:
          OSError: it could not be written, as where no space is left.
        """
        if not is_first_process():
            return
        arrays = jax.tree.map(np.asarray, state)
        needed = sum(x.nbytes for x in jax.tree.leaves(arrays)) + METADATA_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                f"{self.folder}: checkpoint {number} could not be written: it takes up to {needed:,} bytes and "
                f"{free:,} are free; make room, and the same command resumes"
            )
        try:
            self._manager.save(
                number,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays),
                    check=ocp.args.JsonSave({"sha256": digest(arrays), "notes": dict(notes or {})}),
                ),
                metrics={"score": score, "epoch": number},
            )
        except Exception as error:  # orbax and tensorstore raise many kinds
            raise OSError(f"{self.folder}: checkpoint {number} could not be written") from error
        folder = self.folder / str(number)
        temporary = folder / f"{FILES}.tmp"
        temporary.write_text(json.dumps(file_digests(folder), indent=1))
        temporary.replace(folder / FILES)

    def restore(self, number: int, like: T) -> T:
        """Reads a checkpoint and verifies it.

        Args:
          number: one of `numbers`.
          like: a state of the same structure, or its shapes and types.

        Returns:
          The state, NumPy arrays in the place of arrays.

        Raises:
          CheckpointError: it is damaged or belongs to another model; the message says what to do.
        """
        return from_first_process(lambda: self._read(number, like))

    def _read(self, number: int, like: T) -> T:
        path = self.folder / str(number)
        others = [n for n in sorted(self._manager.all_steps()) if n < number]
        advice = f"delete this folder to resume from {f'epoch {others[-1]}' if others else 'what was saved before'}"
        target = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        # Absent where the process was killed between orbax's save and this file; the digest of the arrays remains.
        # Files are compared before orbax opens them: after a failed read its other reads go on in threads of their own.
        if (path / FILES).is_file():
            try:
                difference = first_difference(json.loads((path / FILES).read_text()), file_digests(path))
            except (ValueError, AttributeError):
                difference = f"{FILES} has changed since it was written"
            if difference:
                raise CheckpointError(f"{path}: this checkpoint is damaged: {difference}; {advice}")
        try:
            found = self._manager.restore(
                number,
                args=ocp.args.Composite(state=ocp.args.StandardRestore(target), check=ocp.args.JsonRestore()),
            )
            arrays, expected = found["state"], found["check"]["sha256"]
        except Exception as error:  # orbax and tensorstore raise many kinds for a damaged file
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise CheckpointError(f"{path}: this checkpoint cannot be read ({reason}); {advice}") from error
        if digest(arrays) != expected:
            raise CheckpointError(f"{path}: the arrays are not those that were saved; {advice}")
        return arrays
