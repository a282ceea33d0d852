"""metrics.jsonl and the TensorBoard events, written while a run trains."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from tensorboardX import SummaryWriter

from dcdp_jax.config import flatten
from dcdp_jax.distributed import from_first_process, is_first_process
from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.files import METRICS, TENSORBOARD, write_atomically


class MetricsLog:
    """metrics.jsonl and TensorBoard events, one record a line; continues where a checkpoint left off.

    Every process of a run has the records, and the first writes them.
    """

    def __init__(self, workdir: Path, step: int) -> None:
        """Opens the log and drops what was logged after the step that training resumes from.

        Args:
          workdir: of the run.
          step: the last step whose records stay.
        """
        self.path = workdir / METRICS
        logged = from_first_process(lambda: read_whole_lines(self.path))
        self.records = [record for record in logged if record["step"] <= step]
        self._writes = is_first_process()
        if not self._writes:
            return
        write_atomically(self.path, "".join(map(as_line, self.records)))
        self._file = self.path.open("a")
        self._events = SummaryWriter(str(workdir / TENSORBOARD), purge_step=step + 1 if step else None)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writes:
            self._file.close()
            self._events.close()

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Writes records; they are on disk when this returns."""
        records = list(records)
        self.records += records
        if not self._writes:
            return
        for record in records:
            self._file.write(as_line(record))
            for name, value in flatten(record):
                if isinstance(value, int | float) and name not in ("step", "epoch"):
                    self._events.add_scalar(f"{record['kind']}/{name.replace('.', '/')}", value, record["step"])
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.flush()

    def epochs(self) -> list[dict[str, Any]]:
        """The records of the epochs finished."""
        return [record for record in self.records if record["kind"] == "epoch"]


def as_line(record: dict[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(record, allow_nan=False) + "\n"


def read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """Records of a log whose last line may have been cut short by a kill; that line is left out."""
    if not path.exists():
        return []
    *lines, rest = path.read_text().split("\n")
    del rest
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({error}); choose another --workdir") from error
