"""The files that a run leaves behind; each is written whole or not at all."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from tensorboardX import SummaryWriter

from dcdp_jax.config import differences, flatten
from dcdp_jax.distributed import from_first_process, is_first_process
from dcdp_jax.errors import CheckpointError

CONFIG, RESULT, METRICS, CHECKPOINTS, TENSORBOARD = (
    "config.json",
    "result.json",
    "metrics.jsonl",
    "checkpoints",
    "tensorboard",
)
PREDICTIONS, WORST_WINDOWS, ROBUSTNESS = "predictions.csv", "worst_windows.json", "robustness.json"

# The pages of --mode=describe and --mode=portability may be there before the run, and bind it to nothing.
DESCRIPTION, PORTABILITY = "describe.html", "portability.md"


def write_atomically(path: Path, text: str) -> None:
    """Writes a file such that a reader, also after a crash, finds the old content or all of the new."""
    write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """`write_atomically` for what is no text."""
    temporary = path.with_name(f".{path.name}.writing")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes indented JSON atomically."""
    write_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def check_workdir(workdir: Path, config: dict[str, Any]) -> None:
    """Checks that a workdir is new or belongs to this config; changes nothing.

    Args:
      workdir: of the run.
      config: plain data, see `as_plain_data`.

    Raises:
      CheckpointError: the workdir holds something else, or a run of another config; the message lists the differences.
    """
    path = workdir / CONFIG
    if not path.exists():
        if workdir.exists() and (
            not workdir.is_dir() or any(p.name not in (DESCRIPTION, PORTABILITY) for p in workdir.iterdir())
        ):
            raise CheckpointError(f"{workdir} is not an empty folder and holds no {CONFIG}; choose another --workdir")
        return
    try:
        stored = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON ({error}); choose another --workdir") from error
    if different := differences(stored, config):
        raise CheckpointError(
            f"{workdir} holds a run of another config ({'; '.join(different)}); choose another --workdir"
        )


def make_workdir(workdir: Path, config: dict[str, Any]) -> None:
    """Makes a workdir that `check_workdir` has passed, where it is new."""
    workdir.mkdir(parents=True, exist_ok=True)
    if not (workdir / CONFIG).exists():
        write_json(workdir / CONFIG, config)


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
