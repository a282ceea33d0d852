"""What the builders share: features of a recording, and preparing once per state of the publisher's files."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from dcdp_jax.data.readers.reading import Reading
from dcdp_jax.data.recording import Recording
from dcdp_jax.data.source import cache_folder, raw_folder


class RecordingsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """One record per recording: signals (t, c), labels (t,), other tracks (t,), starts (s,), subject, run.

    Rate and channels are the same for a whole data set and come from the reader. What the reader noted, and what it
    missed, is kept as the data set's metadata.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = "The publisher's unpacked folder, archive, or the folder that holds them."
    reader: ClassVar[ModuleType]

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the label tracks beside the labels."""
        return tuple(getattr(self.reader, "TRACK_CLASS_NAMES", ()))

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=self.reader.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "signals": tfds.features.Tensor(
                        shape=(None, len(self.reader.CHANNELS)), dtype=np.float32, encoding="bytes"
                    ),
                    "labels": label_feature(),
                    **{f"track_{name}": label_feature() for name in self.tracks},
                    "starts": tfds.features.Tensor(shape=(None,), dtype=np.int64, encoding="bytes"),
                    "subject": np.int64,
                    "run": tfds.features.Text(),
                }
            ),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(notes=[], missing=[], missing_values={}),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {"recordings": self._generate_examples(Path(dl_manager.manual_dir))}

    def _generate_examples(self, folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        reading = self.reader.read(folder)
        self.info.metadata.update(
            notes=list(reading.notes), missing=list(reading.missing), missing_values=reading.missing_values
        )
        for number, recording in enumerate(reading):
            yield (
                number,
                {
                    "signals": recording.signals,
                    "labels": recording.labels,
                    **{f"track_{name}": recording.tracks[name] for name in self.tracks},
                    "starts": recording.starts,
                    "subject": recording.subject,
                    "run": recording.run,
                },
            )

    def recordings(self) -> Reading:
        """All recordings, from the prepared files."""
        recordings = [
            Recording(
                signals=record["signals"],
                labels=record["labels"],
                subject=int(record["subject"]),
                run=record["run"].decode(),
                rate=self.reader.RATE,
                channels=self.reader.CHANNELS,
                starts=record["starts"],
                tracks={name: record[f"track_{name}"] for name in self.tracks},
            )
            for record in self.as_data_source("recordings")
        ]
        kept = self.info.metadata
        return Reading(recordings, kept["notes"], kept["missing"], kept.get("missing_values"))


def label_feature() -> tfds.features.Tensor:
    """(t,) class indices."""
    return tfds.features.Tensor(shape=(None,), dtype=np.int32, encoding="bytes")


def state_of(folder: Path, cache: Path) -> str:
    """A key that changes with the names, sizes or times of the files below a folder, but for those of the cache."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and cache not in p.parents):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def load(builder_class: type[RecordingsBuilder], raw_dir: str, cache_dir: str = "") -> Reading:
    """Recordings of a data set; the publisher's files are parsed on first use and whenever they change.

    Args:
      builder_class: which data set.
      raw_dir: see `raw_folder`.
      cache_dir: see `cache_folder`.

    Returns:
      One `Recording` per recording, what the reader noted, and what is missing.

    Raises:
      DataError: see `raw_folder` and the reader.
    """
    cache = cache_folder(cache_dir)
    folder = raw_folder(builder_class.reader.SOURCE, raw_dir, cache)
    tfds.disable_progress_bar()
    builder = builder_class(data_dir=cache / "prepared" / state_of(folder, cache), file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))
    return builder.recordings()
