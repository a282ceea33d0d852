"""A random forest (Breiman 2001) on simple statistics of every window, as a sanity check of the networks.

It has the data, protocols, scores and result.json of a network, and one fit instead of epochs. Needs scikit-learn, in
the extra `studies`.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from dcdp_jax.runs.files import RESULT, as_json, write_recorded
from dcdp_jax.runs.log import MetricsLog
from dcdp_jax.runs.predictions import write_predictions
from dcdp_jax.runs.result import make_result
from dcdp_jax.runs.workdir import make_workdir
from dcdp_jax.train.build import has_validation
from dcdp_jax.train.evaluation import Evaluation
from dcdp_jax.versions import version_of

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

TREES = 300
BLOCK = 1024  # number of windows held in memory at a time


def window_statistics(x: np.ndarray) -> np.ndarray:
    """Computes eight numbers per channel: mean, standard deviation, minimum, quartiles, maximum, mean absolute step.

    Args:
      x: (b, t, c) windows.

    Returns:
      (b, 8 c), channel by channel within each statistic.
    """
    quantiles = np.quantile(x, (0, 0.25, 0.5, 0.75, 1), axis=1)
    steps = np.abs(np.diff(x, axis=1)).mean(axis=1)
    return np.concatenate([x.mean(axis=1), x.std(axis=1), *quantiles, steps], axis=1)


def statistics_of(dataset: Dataset, split: Split) -> np.ndarray:
    """Computes `window_statistics` (n, 8 c) of the normalised windows of a part."""
    samples = np.arange(dataset.window)
    found = []
    for first in range(0, len(split.starts), BLOCK):
        x = dataset.signals[split.starts[first : first + BLOCK, None] + samples]
        found.append(window_statistics(normalize(x, *dataset.normalizer)))
    return np.concatenate(found)


def evaluate(forest: "RandomForestClassifier", statistics: np.ndarray, labels: np.ndarray, classes: int) -> Evaluation:
    """Evaluates a part. A class that no tree chose counts half a tree's vote, so that the loss is finite."""
    votes = np.full((len(labels), classes), 0.5 / TREES, np.float32)
    votes[:, forest.classes_] = np.maximum(forest.predict_proba(statistics), 0.5 / TREES)
    logits = jnp.log(votes)
    counted = tally(logits, {}, jnp.asarray(labels), jnp.ones(len(labels), bool))
    return Evaluation(
        jax.tree.map(lambda x: np.asarray(x, np.float64), counted), np.asarray(jnp.exp(jax.nn.log_softmax(logits)))
    )


def train_random_forest(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Fits the forest and writes result.json, metrics.jsonl and predictions; there is no checkpoint.

    Args:
      config: of the run; config and workdir are checked. It reads `seed` and `data`.
      workdir: of the run.

    Returns:
      The content of result.json; its `parameters` are the nodes of all trees.

    Raises:
      UserError: the data cannot be used, or scikit-learn is not installed.
      OSError: a file could not be written.
    """
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError as error:
        raise ConfigError("model.name=random_forest needs scikit-learn: pip install 'dcdp_jax[studies]'") from error
    dataset = from_first_process(lambda: build_dataset(config.data))
    from_first_process(lambda: make_workdir(workdir, as_plain_data(config)))
    statistics = {name: statistics_of(dataset, split) for name, split in dataset.splits.items()}
    began = time.perf_counter()
    forest = RandomForestClassifier(TREES, random_state=config.seed, n_jobs=-1)
    forest.fit(statistics["train"], dataset.splits["train"].labels)
    seconds = time.perf_counter() - began
    evaluations = {
        name: evaluate(forest, statistics[name], split.labels, len(dataset.class_names))
        for name, split in dataset.splits.items()
    }
    scores = {name: found.tally.scores() for name, found in evaluations.items()}
    epoch = {
        "kind": "epoch",
        "epoch": 1,
        "step": 1,
        "train": {name: scores["train"][name] for name in ("loss", "accuracy")},
        "best": True,
        "windows_per_second": len(dataset.splits["train"].labels) / seconds,
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
        parameters=sum(tree.tree_.node_count for tree in forest.estimators_),
        epochs=[epoch],
    )
    result["versions"]["scikit-learn"] = version_of("scikit-learn")
    from_first_process(lambda: write_predictions(workdir, dataset, evaluations["test"].probabilities))
    from_first_process(lambda: write_recorded(workdir, RESULT, as_json(result)))
    return result
