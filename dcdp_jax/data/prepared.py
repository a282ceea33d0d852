"""Loads the recordings of any data set by its name.

Published data sets are parsed once and stored by TFDS as array_record files, without TensorFlow.

The files of one preparation are in one folder with a list of their SHA-256, which is compared before they are opened.
A folder is written under a temporary name and renamed at the end, so that a reader never sees part of it.
"""

import contextlib
import fcntl
import functools
import hashlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dcdp_jax.data.datasets import find_dataset
from dcdp_jax.data.download import cache_folder, file_sha256, raw_folder
from dcdp_jax.data.recording import Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.errors import DataError

CHECKSUMS = "SHA256SUMS"
UNFINISHED = ".unfinished-"


def load_recordings(name: str, raw_dir: str = "", *, cache_dir: str = "", options: Any = None) -> list[Recording]:
    """Returns all recordings of a data set, in the publisher's order.

    Args:
      name: the name of a data set, as in `data.name`.
      raw_dir: folder with the publisher's files; '' takes the variable DCDP_RAW_DIR, else they are downloaded.
      cache_dir: folder for downloads and prepared data; '' takes the user's cache folder.
      options: for `synthetic`, `table` and `realworld` their part of a config, as `data.table`; None for `realworld`
        gives the recordings of all positions.

    Raises:
      ConfigError: there is no data set of this name, or an option cannot be used.
      DataError: files are missing or damaged.
    """
    return list(read_dataset(name, raw_dir, cache_dir, options))


def read_dataset(name: str, raw_dir: str, cache_dir: str, options: Any) -> Recordings:
    """Reads the recordings of a data set with their names and notes; see `load_recordings`."""
    spec = find_dataset(name)
    if spec.make:
        return spec.make(raw_dir, options)
    recordings = load_prepared(spec, raw_dir, cache_dir)
    return spec.select(recordings, options) if spec.select and options is not None else recordings


def load_prepared(spec: DatasetSpec, raw_dir: str, cache_dir: str = "") -> Recordings:
    """Returns the recordings of a published data set; its files are parsed on first use and when they change.

    For raw_dir see `raw_folder`, for cache_dir `cache_folder`.

    Raises:
      DataError: see `raw_folder` and the data set's `read`; or the cache cannot be written.
    """
    assert spec.source is not None
    cache = cache_folder(cache_dir)
    folder = raw_folder(spec.source, raw_dir, cache)
    target = cache / "prepared" / f"{spec.name}-{spec.version}-{files_key(folder, cache)}"
    if not is_whole(target):
        try:
            prepare(spec, folder, target)
        except OSError as error:
            raise DataError(f"{target}: cannot be prepared ({error}); see --config.data.cache_dir") from error
    return read_prepared(spec, target)


def files_key(folder: Path, cache: Path) -> str:
    """Returns a key that changes with the names, sizes and times of the files below a folder, without the cache's."""
    digest, folder, cache = hashlib.sha256(), folder.resolve(), cache.resolve()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and cache not in p.parents):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def prepare(spec: DatasetSpec, folder: Path, target: Path) -> None:
    """Prepares the publisher's files once, even if several processes ask for it. A damaged target is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = f"{UNFINISHED}{target.name}-"
    with hold_lock(target.with_name(f".{target.name}.lock")) as alone:
        if alone:  # what killed processes left
            for path in target.parent.glob(f"{unfinished}*"):
                shutil.rmtree(path, ignore_errors=True)
        if is_whole(target):  # another process was faster
            return
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=unfinished))
        try:
            if target.exists():
                print(f"prepared data in {target} is damaged, and is prepared again", file=sys.stderr)
                os.replace(target, work / "damaged")
            print(f"preparing {spec.name} from {folder}, once, into {target}", file=sys.stderr)
            write_prepared(spec, folder, work / "whole")
            with contextlib.suppress(OSError):  # without a lock, another process may have been faster
                os.replace(work / "whole", target)
            if not is_whole(target):
                raise OSError("the files written are not as they were written")
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[bool]:
    """Waits for a lock and holds it, until the process ends at the latest; yields False if the file system has none."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True


def checksums(folder: Path) -> str:
    """Returns a line for each file below a folder, as `sha256sum` writes it."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != CHECKSUMS)
    return "".join(f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)


def is_whole(folder: Path) -> bool:
    """Returns whether a folder has all prepared files, unchanged."""
    try:
        return (folder / CHECKSUMS).read_bytes() == checksums(folder).encode()
    except OSError:
        return False


def write_prepared(spec: DatasetSpec, folder: Path, target: Path) -> None:
    """Parses the publisher's files into a folder with its checksums."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints that it downloads the files that it parses
        config = tfds.download.DownloadConfig(manual_dir=folder)
        make_builder(spec, target).download_and_prepare(download_config=config)
    (target / CHECKSUMS).write_text(checksums(target))


def read_prepared(spec: DatasetSpec, target: Path) -> Recordings:
    """Reads the recordings of a folder that `write_prepared` wrote."""
    builder = make_builder(spec, target)
    recordings = [
        Recording(
            signals=record["signals"],
            labels=record["labels"],
            subject=int(record["subject"]),
            run=record["run"].decode(),
            rate=spec.rate,
            channels=spec.channels,
            starts=record["starts"],
            tracks={name: record[f"track_{name}"] for name in spec.tracks},
        )
        for record in builder.as_data_source("recordings")
    ]
    kept = builder.info.metadata
    return Recordings(
        recordings,
        spec.class_names,
        notes=tuple(kept["notes"]),
        missing=tuple(kept["missing"]),
        missing_values=dict(kept.get("missing_values") or {}),
    )


def make_builder(spec: DatasetSpec, data_dir: Path) -> Any:
    """Returns the TFDS builder of a data set that keeps its files in a folder."""
    attributes = {"__module__": __name__, "__doc__": spec.description, "VERSION": spec.version, "name": spec.name}
    builder = type(spec.name, (builder_class(),), attributes | {"spec": spec}, skip_registration=True)
    return builder(data_dir=data_dir, file_format="array_record")


@functools.cache
def builder_class() -> type:
    """Returns the base class of the builders. Cached in a function, because importing TFDS takes a second."""
    import tensorflow_datasets as tfds

    def series(dtype: type, *columns: int) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=(None, *columns), dtype=dtype, encoding="bytes")

    class RecordingsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        """Stores one record per recording: signals (t, c), labels (t,), other tracks (t,), starts (s,), subject, run.

        The notes of the reader, and what it found missing, are stored as metadata.
        """

        MANUAL_DOWNLOAD_INSTRUCTIONS = "The publisher's unpacked folder."
        spec: DatasetSpec

        def _info(self) -> tfds.core.DatasetInfo:
            features = {
                "signals": series(np.float32, len(self.spec.channels)),
                "labels": series(np.int32),
                **{f"track_{name}": series(np.int32) for name in self.spec.tracks},
                "starts": series(np.int64),
                "subject": np.int64,
                "run": tfds.features.Text(),
            }
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
                metadata=tfds.core.MetadataDict(notes=[], missing=[], missing_values={}),
            )

        def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
            return {"recordings": self._generate_examples(Path(dl_manager.manual_dir))}

        def _generate_examples(self, folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
            assert self.spec.read is not None
            recordings = self.spec.read(folder)
            self.info.metadata.update(
                notes=recordings.notes, missing=recordings.missing, missing_values=recordings.missing_values
            )
            for number, recording in enumerate(recordings.release()):
                tracks = {f"track_{name}": recording.tracks[name] for name in self.spec.tracks}
                plain = {name: getattr(recording, name) for name in ("signals", "labels", "starts", "subject", "run")}
                yield number, plain | tracks

    return RecordingsBuilder
