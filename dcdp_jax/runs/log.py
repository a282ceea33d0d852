"""metrics.jsonl and the TensorBoard events, written while a run trains."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from dcdp_jax.distributed import from_first_process, is_first_process
from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.files import METRICS, TENSORBOARD, record, sha256, write_atomically
from dcdp_jax.runs.reading import parse_records
from dcdp_jax.values import flatten

# The notes of a run that has no checkpoint yet.
NOTHING: Mapping[str, Any] = {"bytes": 0, "sha256": sha256(b""), "epochs": 0, "best": None}


class MetricsLog:
    """Writer of metrics.jsonl, one record per line, and of the same numbers as TensorBoard events.

    Every process of a run has the `records`; the first one writes them.
    """

    def __init__(self, workdir: Path, notes: Mapping[str, Any] = NOTHING) -> None:
        """Opens the log, and drops what was logged after the checkpoint from which training resumes.

        The checkpoint has these notes, see `notes`. Raises CheckpointError if the log does not belong to it.
        """
        self._workdir, self._writes = workdir, is_first_process()
        kept = from_first_process(lambda: read_noted(workdir / METRICS, notes))
        self.records = parse_records(kept.splitlines(), workdir / METRICS)
        self._bytes, self._sha256 = len(kept), hashlib.sha256(kept)
        if not self._writes:
            return
        write_atomically(workdir / METRICS, kept)
        self._file = (workdir / METRICS).open("ab")
        last = self.records[-1]["step"] if self.records else None
        self._events = SummaryWriter(str(workdir / TENSORBOARD), purge_step=last + 1 if last else None)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writes:
            self._file.close()
            self._events.close()

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Writes records; they are on disk when this returns."""
        records = list(records)
        self.records += records
        content = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records).encode()
        self._bytes += len(content)
        self._sha256.update(content)
        if not self._writes:
            return
        self._file.write(content)
        for line in records:
            for name, value in flatten(line):
                if isinstance(value, int | float) and name not in ("step", "epoch"):
                    self._events.add_scalar(f"{line['kind']}/{name.replace('.', '/')}", value, line["step"])
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.flush()

    def epochs(self) -> list[dict[str, Any]]:
        """Returns the records of the finished epochs."""
        return [record for record in self.records if record["kind"] == "epoch"]

    def notes(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps, so that training resumes from it exactly.

        These are `bytes` and `sha256` of the log so far, the number of finished `epochs`, and the `best` of them: its
        number and its validation macro F1 if there is a validation set; None before the first.
        """
        epochs = self.epochs()
        best = next((e for e in reversed(epochs) if e["best"]), None)
        return {
            "bytes": self._bytes,
            "sha256": self._sha256.hexdigest(),
            "epochs": len(epochs),
            "best": best and {"epoch": best["epoch"], "score": best.get("validation", {}).get("f1_macro")},
        }

    def finish(self) -> None:
        """Records the digest of the finished log."""
        if self._writes:
            record(self._workdir, METRICS)


def read_noted(path: Path, notes: Mapping[str, Any]) -> bytes:
    """Returns the part of a log up to a checkpoint with these notes; raises CheckpointError if the log differs there.

    More records may follow, because a process may be killed after it wrote records and before their checkpoint.
    """
    if "bytes" not in notes:
        raise CheckpointError(
            f"{path.parent}: its checkpoint was saved by an earlier version, which cannot be resumed exactly; train "
            "again in another --workdir"
        )
    content = path.read_bytes() if path.exists() else b""
    kept = content[: notes["bytes"]]
    if sha256(kept) == notes["sha256"]:
        return kept
    found = "is missing" if not path.exists() else f"has {len(content):,} bytes"
    raise CheckpointError(
        f"{path} is not the log of the checkpoint to resume from: it {found}, expected {notes['bytes']:,} or more with "
        f"the {notes['epochs']} epochs as they were logged; restore it from a copy, or train again in another --workdir"
    )
