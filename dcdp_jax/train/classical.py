"""Trains classical models: computes features of every window and fits a classifier once, without epochs.

They use the data, protocols, scores and result.json of a network. They need scikit-learn, in the extra `studies`.
"""

import importlib.util
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.config import as_plain_data
from dcdp_jax.data.dataset import Dataset, Split, build_dataset
from dcdp_jax.data.normalize import normalize
from dcdp_jax.distributed import from_first_process
from dcdp_jax.errors import ConfigError
from dcdp_jax.metrics import tally
from dcdp_jax.models.classical import CLASSICAL
from dcdp_jax.models.classical.classifiers import Fitted
from dcdp_jax.models.classical.features import Features
from dcdp_jax.runs.files import RESULT, as_json, write_recorded
from dcdp_jax.runs.log import MetricsLog
from dcdp_jax.runs.predictions import write_predictions
from dcdp_jax.runs.result import make_result
from dcdp_jax.runs.workdir import make_workdir
from dcdp_jax.train.build import has_validation
from dcdp_jax.train.evaluation import Evaluation
from dcdp_jax.train.messages import data_lines
from dcdp_jax.versions import version_of

BLOCK = 256  # number of windows whose features are computed at a time
SAMPLE = 2048  # number of training windows from which features may be chosen


def windows_of(dataset: Dataset, starts: np.ndarray) -> np.ndarray:
    """Returns the normalised windows (n, t, c) that begin at the given samples."""
    return normalize(dataset.windows_at(starts), *dataset.normalizer)


def compute_features(features: Features, dataset: Dataset, split: Split) -> np.ndarray:
    """Computes the features (n, f) of all windows of a split, in blocks of one size to compile only once."""
    found = []
    for first in range(0, len(split.starts), BLOCK):
        rows = np.minimum(np.arange(first, first + BLOCK), len(split.starts) - 1)
        found.append(features(windows_of(dataset, split.starts[rows]))[: len(split.starts) - first])
    return np.concatenate(found)


def evaluate(fitted: Fitted, features: np.ndarray, labels: np.ndarray, present: np.ndarray, classes: int) -> Evaluation:
    """Evaluates a split. Classes that do not occur in training get the smallest probability."""
    probabilities = np.full((len(labels), classes), fitted.smallest, np.float32)
    probabilities[:, present] = np.maximum(fitted.predict(features), fitted.smallest)
    logits = jnp.log(probabilities)
    counted = tally(logits, {}, jnp.asarray(labels), jnp.ones(len(labels), bool))
    return Evaluation(
        jax.tree.map(lambda x: np.asarray(x, np.float64), counted), np.asarray(jnp.exp(jax.nn.log_softmax(logits)))
    )


def train_classical(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Fits a classical model and writes result.json, metrics.jsonl and predictions; there is no checkpoint.

    Config and workdir must have been checked. Only `seed`, `data` and `model.name` are used.

    Returns:
      The content of result.json. Its `parameters` is the number of fitted parameters, see `Fitted`; its seconds are for
      the features of the training set and the fit.

    Raises:
      UserError: the data cannot be used, its windows are too short for the model, or scikit-learn is not installed.
    """
    name = config.model.name
    model = CLASSICAL[name]
    if importlib.util.find_spec("sklearn") is None:
        raise ConfigError(f"model.name={name} needs scikit-learn: pip install 'dcdp_jax[studies]'")
    if config.data.window < model.shortest:
        raise ConfigError(f"data.window={config.data.window} is too short for {name}, which needs {model.shortest}")
    dataset = from_first_process(lambda: build_dataset(config.data))
    from_first_process(lambda: make_workdir(workdir, as_plain_data(config)))
    print(data_lines(config, dataset), flush=True)
    train = dataset.splits["train"]
    present = np.unique(train.labels)
    if len(present) < 2:
        raise ConfigError(f"model.name={name} needs two classes in the training set, which has {len(present)}")

    began = time.perf_counter()
    order = np.random.default_rng(config.seed).permutation(len(train.starts))
    features = model.make_features(windows_of(dataset, train.starts[order[:SAMPLE]]), config.seed)
    found = {"train": compute_features(features, dataset, train)}
    fitted = model.fit(found["train"], train.labels, config.seed)
    seconds = time.perf_counter() - began

    found |= {
        part: compute_features(features, dataset, split) for part, split in dataset.splits.items() if part != "train"
    }
    evaluations = {
        part: evaluate(fitted, found[part], split.labels, present, len(dataset.class_names))
        for part, split in dataset.splits.items()
    }
    scores = {part: evaluation.tally.scores() for part, evaluation in evaluations.items()}
    epoch = {
        "kind": "epoch",
        "epoch": 1,
        "step": 1,
        "train": {score: scores["train"][score] for score in ("loss", "accuracy")},
        "best": True,
        "windows_per_second": len(train.labels) / seconds,
        "seconds": seconds,
    }
    validated = has_validation(dataset)
    if validated:
        epoch["validation"] = {**scores["validation"], "windows": len(dataset.splits["validation"].labels)}
    with MetricsLog(workdir) as log:
        log.append([epoch])
        log.finish()
    result = make_result(
        config,
        dataset,
        validation=evaluations["validation"].tally if validated else None,
        test=evaluations["test"].tally,
        device=f"{os.cpu_count()} cores (scikit-learn)",
        parameters=fitted.parameters,
        epochs=[epoch],
    )
    result["versions"]["scikit-learn"] = version_of("scikit-learn")
    from_first_process(lambda: write_predictions(workdir, dataset, evaluations["test"].probabilities))
    from_first_process(lambda: write_recorded(workdir, RESULT, as_json(result)))
    return result
