"""result.json: the scores of a run, and everything needed to trust and repeat them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.config import is_network, unread_notes
from dcdp_jax.data.dataset import Dataset
from dcdp_jax.metrics import Tally
from dcdp_jax.versions import version_of

PACKAGES = ("dcdp_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets")


def make_result(
    config: ConfigDict,
    dataset: Dataset,
    *,
    validation: Tally | None,
    test: Tally,
    device: str,
    parameters: int,
    epochs: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Makes the content of result.json from tallies of the selected checkpoint and the epoch records of metrics.jsonl.

    Without a validation set its tally is None.
    """
    rates = sorted(epoch["windows_per_second"] for epoch in epochs)
    return {
        "dataset": config.data.title or config.data.name,
        "protocol": config.data.protocol,
        "seed": config.seed,
        "class_names": list(dataset.class_names),
        "test": test.scores(),
        **({"validation": validation.scores()} if validation else {}),
        "branches": test.branch_accuracy(),
        "confusion": [[int(n) for n in row] for row in test.confusion],
        "windows": {name: len(split.labels) for name, split in dataset.splits.items()},
        "subjects": {
            name: [dataset.subject_names.get(s, s) for s in np.unique(split.subjects).tolist()]
            for name, split in dataset.splits.items()
        },
        "counts": dataset.counts,
        "subject_counts": dataset.subject_counts,
        "marks": list(dataset.marks),
        "notes": [*dataset.notes, *unread_notes(config)],
        "data_fingerprint": dataset.fingerprint,
        "versions": package_versions(),
        "git_revision": git_revision(),
        "device": device,
        "parameters": parameters,
        "selection": config.train.selection if is_network(config.model.name) else None,
        "best_epoch": best_epoch(epochs),
        "epochs": len(epochs),
        "wall_seconds": sum(epoch["seconds"] for epoch in epochs),
        "windows_per_second": rates[len(rates) // 2],
        "command": " ".join(sys.argv),
    }


def best_epoch(epochs: Sequence[dict[str, Any]]) -> int:
    """Returns the number of the selected epoch. Of several equal validation scores, the first is selected."""
    return next(epoch["epoch"] for epoch in reversed(epochs) if epoch["best"])


def package_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result depends on."""
    return {"python": sys.version.split()[0]} | {name: version_of(name) for name in PACKAGES}


def git_revision(file: Path = Path(__file__)) -> str | None:
    """Returns the commit of the checkout of a file, 40 hexadecimal digits, with `-dirty` if files differ from it.

    None without git, and if the file is not under version control, for example in a package that is installed inside
    another checkout.
    """
    text = ""
    for command in (
        ["git", "ls-files", "--error-unmatch", file.name],
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
    ):
        try:
            options: dict[str, Any] = {"cwd": file.parent, "capture_output": True, "text": True, "timeout": 20}
            text = subprocess.run(command, check=True, **options).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None
    return text or None
