"""Summarises a data set as plain data, for a page that shows it before anything is trained."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.dataset import Dataset
from dcdp_jax.data.datasets import find_dataset
from dcdp_jax.data.protocols import FOLDED


def summarize(config: ConfigDict, dataset: Dataset) -> dict[str, Any]:
    """Summarises what is in a data set, built from the `data` part of a config, and how the protocol divides it.

    Returns:
      JSON types. `minutes`: {subject: {class name: minutes}}, of all that was read; '' for samples of no class.
      `channels`: one dict each, with the statistics of the raw signal. `examples`: {class name: a window of it}.
    """
    per_minute = 60 * dataset.rate
    return {
        "dataset": config.title or config.name,
        "own_tables": config.name == "table",
        "protocol": config.protocol,
        "fold": config.fold if config.protocol in FOLDED else None,
        "marks": list(dataset.marks),
        "rate": float(dataset.rate),
        "window": dataset.window,
        "step": config.step,
        "label_rule": config.label_rule,
        "normalize": config.normalize,
        "class_names": list(dataset.class_names),
        "minutes": {
            subject: {name: samples / per_minute for name, samples in classes.items()}
            for subject, classes in dataset.samples.items()
        },
        "minutes_note": find_dataset(config.name).samples_note,
        "windows": dict(dataset.windows),
        "counts": {split: dict(counts) for split, counts in dataset.counts.items()},
        "subjects": {split: list(counts) for split, counts in dataset.subject_counts.items()},
        "channels": [
            {
                **channel._asdict(),
                "missing": dataset.missing_values.get(channel.name, 0),
                "mean": float(values.mean(dtype=np.float64)),
                "deviation": float(values.std(dtype=np.float64)),
                "lowest": float(values.min()),
                "highest": float(values.max()),
            }
            for channel, values in zip(dataset.channels, dataset.signals.T, strict=True)
        ],
        "notes": list(dataset.notes),
        "data_fingerprint": dataset.fingerprint,
        "examples": examples(dataset),
    }


def examples(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Returns {class name: the middle one of its training windows, or of those of the first part that has any}."""
    found = {}
    for label, name in enumerate(dataset.class_names):
        for split, part in dataset.splits.items():
            rows = np.flatnonzero(part.labels == label)
            if rows.size:
                row = rows[len(rows) // 2]
                start = int(part.starts[row])
                found[name] = {
                    "part": split,
                    "subject": dataset.subject_names.get(int(part.subjects[row]), int(part.subjects[row])),
                    "values": dataset.signals[start : start + dataset.window].tolist(),
                }
                break
    return found
