"""Names of the files in a run's folder, atomic writing, and reading that is verified by digests."""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcdp_jax.errors import CheckpointError

CONFIG, RESULT, METRICS, CARD = "config.json", "result.json", "metrics.jsonl", "model.json"
PREDICTIONS, WORST_WINDOWS, ROBUSTNESS = "predictions.csv", "worst_windows.json", "robustness.json"
SEGMENTS, CALIBRATION, DENSITY = "segments.json", "calibration.json", "density.npz"
CHECKPOINTS, INTERRUPTED, TENSORBOARD = "checkpoints", "interrupted", "tensorboard"
DESCRIPTION, PORTABILITY, NONFINITE = "describe.html", "portability.md", "nonfinite.json"
ADAPTED = "adapted"  # folder of adapted models, and their mark in result.json
# SHA-256 of the other files in a folder, and of this table itself.
DIGESTS = "files.json"
UNFINISHED = ".*.writing"
# Advice for damaged files that can be made again.
EVALUATE_AGAIN = "remove it and run the command again with --mode=evaluate, which writes it"
REPAIR = dict.fromkeys((PREDICTIONS, WORST_WINDOWS, ROBUSTNESS, SEGMENTS, CALIBRATION), EVALUATE_AGAIN)


def unfinished(path: Path) -> Path:
    """Returns the temporary path under which a file or folder is written before it is renamed."""
    return path.with_name(f".{path.name}.{os.getpid()}.writing")


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left unfinished in a folder and below it."""
    for path in list(folder.rglob(UNFINISHED)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader finds either the old or the new content, also after a crash."""
    temporary = unfinished(path)
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # absent if a write fails, as on a full disk
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to fill, which replaces `folder` at the end. After an error `folder` is unchanged."""
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".writing", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(Path(temporary) / "before")
        new.rename(folder)


def as_json(content: Any) -> str:
    """Returns indented JSON; raises ValueError for numbers that are not finite."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Writes indented JSON atomically."""
    write_atomically(path, as_json(content))


def as_csv(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table as CSV with a header line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def marks_suffix(marks: Sequence[str]) -> str:
    """Formats the marks of a result behind the name of its data set, as ` [synthetic, leaky]`; '' without marks."""
    return f" [{', '.join(marks)}]" if marks else ""


def number_or_blank(value: float | None, pattern: str = ".2f") -> str:
    """Formats a number, by default with two decimals; None and NaN give an empty string."""
    return "" if value is None or math.isnan(value) else format(value, pattern)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def sha256(content: bytes) -> str:
    """Returns the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_digests(folder: Path) -> dict[str, list[str]]:
    """Returns {file name: SHA-256 digests, one of which is the file's} of a run or a checkpoint; {} if none.

    Raises CheckpointError if the table of digests is damaged.
    """
    try:
        content = (folder / DIGESTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        table = json.loads(content)
        if table and all(isinstance(x, str) and re.fullmatch("[0-9a-f]{64}", x) for x in table.values()):
            return {name: [digest] for name, digest in table.items()}  # as earlier versions wrote it
        if table["sha256"] == sha256(json.dumps(table["files"], sort_keys=True).encode()):
            return table["files"]
    raise CheckpointError(
        f"{folder / DIGESTS} is damaged: it has changed since it was written; restore it from a copy (without it the "
        "other files are read unverified)"
    )


def write_digests(folder: Path, files: Mapping[str, list[str]]) -> None:
    """Writes the digests that `read_digests` reads."""
    table = {"sha256": sha256(json.dumps(files, sort_keys=True).encode()), "files": files}
    # No line feed at the end: a file that lacks its last byte must not be read.
    write_atomically(folder / DIGESTS, json.dumps(table, indent=1))


def write_recorded(folder: Path, name: str, content: str | bytes) -> None:
    """Writes a file of a run atomically and records its digest.

    While the file is written, the table has the digests of both the old and the new content, so that the file has one
    of them wherever the process is killed. Raises CheckpointError if the table of digests is damaged.
    """
    content = content.encode() if isinstance(content, str) else content
    path, new = folder / name, sha256(content)
    files = read_digests(folder)
    before = [sha256(path.read_bytes())] if path.is_file() else []
    write_digests(folder, {**files, name: [*(old for old in before if old in files.get(name, [])), new]})
    write_atomically(path, content)
    write_digests(folder, {**files, name: [new]})


def record(folder: Path, name: str) -> None:
    """Records the digest of a file that is already there."""
    write_digests(folder, {**read_digests(folder), name: [sha256((folder / name).read_bytes())]})


def read_recorded(folder: Path, name: str) -> bytes:
    """Reads a file of a run and verifies it by its digest, also while another process replaces it.

    A file without a digest, as the earliest versions wrote them, is not verified. Raises CheckpointError, which says
    what to do, if the file is missing or has changed since it was written.
    """
    path = folder / name
    while True:
        files = read_digests(folder)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if (folder / RESULT).exists():
                advice = f"restore the whole folder from a copy: it has {RESULT}, and was copied or emptied in part"
            else:
                advice = f"{folder} holds no finished run; train it first"
            raise CheckpointError(f"{path} is missing: {advice}") from None
        except NotADirectoryError:
            raise CheckpointError(f"{folder} is not a folder of a run") from None
        if name not in files or sha256(content) in files[name]:
            return content
        if read_digests(folder) == files:
            advice = REPAIR.get(name, "restore it from a copy, or train again in another --workdir")
            raise CheckpointError(f"{path} is damaged: it has changed since it was written; {advice}")
