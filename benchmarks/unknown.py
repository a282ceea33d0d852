"""Scores of unknown windows: UCI-HAR is trained without each class in turn, and its windows are told from the others.

    python benchmarks/unknown.py [--raw FOLDER] [--out runs/unknown] [--seed 0] [--width 8] [--epochs 8]

Trains the network of each class unless it is there (protocol `official`, blocks of the smallest depth), and prints the
area under the ROC curve of each score, for the two people who validate and for the nine who test.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from dcdp_jax.configs import uci_har
from dcdp_jax.configs.hapt import UCI_HAR_CLASSES
from dcdp_jax.data.dataset import Dataset, Split, build_dataset
from dcdp_jax.data.normalize import normalize
from dcdp_jax.density import FLOOR, distances, fit_density
from dcdp_jax.rejection import area_under_roc, scale_probabilities
from dcdp_jax.serve.model import TrainedModel, load_model
from dcdp_jax.train.trainer import train

BATCH, NEIGHBOURS, PRINCIPAL = 256, 10, 64
Features = dict[str, np.ndarray]
Score = Callable[[Features], np.ndarray]  # higher where a window is more likely known


def features_of(model: TrainedModel, dataset: Dataset, split: Split) -> Features:
    """Returns what the scores read of n windows: logits, embeddings, the fusion's hidden layer, channel statistics."""

    def is_hidden(module: Any, _: str) -> bool:
        return module.name == "Dense_0"

    @jax.jit
    def apply(x: jax.Array) -> Features:
        x = normalize(x, *model.card.normalizer)
        outputs, found = model.network.apply(
            model.variables, x, capture_intermediates=is_hidden, mutable="intermediates"
        )
        hidden = jax.nn.relu(found["intermediates"]["fusion"]["Dense_0"]["__call__"][0])
        statistics = jax.numpy.concatenate([x.mean(axis=1), jax.numpy.log(x.std(axis=1) + FLOOR)], axis=1)
        embeddings = jax.numpy.concatenate([outputs.embeddings[b.name] for b in model.card.branches], axis=1)
        branches = {f"logits of {name}": z for name, z in outputs.branches.items()}
        return {"logits": outputs.fusion, "hidden": hidden, "h": embeddings, "statistics": statistics, **branches}

    parts = []
    for first in range(0, len(split.starts), BATCH):
        windows = dataset.windows_at(split.starts[first : first + BATCH])
        padded = np.pad(windows, ((0, BATCH - len(windows)), (0, 0), (0, 0)))
        parts.append(jax.tree.map(lambda x: np.asarray(x, np.float64), apply(padded)))
    found = jax.tree.map(lambda *values: np.concatenate(values)[: len(split.starts)], *parts)
    every = [found["logits"], *(found[f"logits of {branch.name}"] for branch in model.card.branches)]
    found["log-probabilities"] = np.concatenate([log_softmax(z, axis=1) for z in every], axis=1)
    found["of the fusion"] = log_softmax(found["logits"], axis=1)
    found["both"] = np.concatenate([found["log-probabilities"], found["statistics"]], axis=1)
    return found


def mahalanobis(train: Features, labels: np.ndarray, of: str) -> Score:
    """Distance to the nearest class with a shared covariance, Lee et al. 2018, https://arxiv.org/abs/1807.03888."""
    density = fit_density(train[of], labels)
    return lambda x: -distances(density, x[of])


def relative(train: Features, labels: np.ndarray, of: str) -> Score:
    """The same minus the distance to all classes as one, Ren et al. 2021, https://arxiv.org/abs/2106.09022."""
    classes, everything = fit_density(train[of], labels), fit_density(train[of], np.zeros_like(labels))
    return lambda x: distances(everything, x[of]) - distances(classes, x[of])


def neighbours(train: Features, of: str) -> Score:
    """Distance to the 10th neighbour of normalised features, Sun et al. 2022, https://arxiv.org/abs/2204.06507."""

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    known = unit(train[of])
    return lambda x: np.partition(unit(x[of]) @ known.T, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]


def vim(train: Features, kernel: np.ndarray, bias: np.ndarray) -> Score:
    """Energy minus the part outside the principal space, Wang et al. 2022, https://arxiv.org/abs/2203.10807."""
    origin = -np.linalg.pinv(kernel.T) @ bias
    moved = train["hidden"] - origin
    _, vectors = np.linalg.eigh(moved.T @ moved)
    outside = vectors[:, :-PRINCIPAL]

    def residual(x: Features) -> np.ndarray:
        return np.linalg.norm((x["hidden"] - origin) @ outside, axis=1)

    scale = train["logits"].max(axis=1).mean() / residual(train).mean()
    return lambda x: logsumexp(x["logits"], axis=1) - scale * residual(x)


def scores_of(model: TrainedModel, train: Features, labels: np.ndarray) -> dict[str, Score]:
    """Returns all scores. Energy: Liu et al. 2020; maximum logit: Hendrycks et al. 2022."""
    last = model.variables["params"]["fusion"]["Dense_1"]
    temperature = model.card.rejection.temperature
    return {
        "probability": lambda x: scale_probabilities(softmax(x["logits"], axis=1), temperature).max(axis=1),
        "energy": lambda x: logsumexp(x["logits"], axis=1),
        "maximum logit": lambda x: x["logits"].max(axis=1),
        "Mahalanobis, hidden layer of the fusion": mahalanobis(train, labels, "hidden"),
        "Mahalanobis, embeddings of the branches": mahalanobis(train, labels, "h"),
        "relative Mahalanobis, hidden layer": relative(train, labels, "hidden"),
        "nearest neighbours, hidden layer": neighbours(train, "hidden"),
        "ViM": vim(train, np.asarray(last["kernel"], np.float64), np.asarray(last["bias"], np.float64)),
        "Mahalanobis, channel statistics": mahalanobis(train, labels, "statistics"),
        "Mahalanobis, log-probabilities": mahalanobis(train, labels, "log-probabilities"),
        "relative Mahalanobis, log-probabilities of the fusion": relative(train, labels, "of the fusion"),
        "distance: Mahalanobis, log-probabilities and statistics": mahalanobis(train, labels, "both"),
    }


def measure(name: str, whole: Dataset, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Returns {score: areas for the validation and the test set} of a network trained without a class."""
    config = uci_har.get_config()
    config.data.update(raw_dir=arguments.raw, left_out_class=name)
    config.model.update(width=arguments.width, resnet_blocks=(1, 1, 1, 1), densenet_blocks=(2, 2, 2, 2))
    config.train.epochs, config.seed, config.parallel.devices = arguments.epochs, arguments.seed, 1
    workdir = Path(arguments.out) / f"{name}-{arguments.seed}"
    train(config, workdir)
    model = load_model(workdir)
    there = {part: split.labels != whole.class_names.index(name) for part, split in whole.splits.items()}
    found = {part: features_of(model, whole, split) for part, split in whole.splits.items()}
    known = {of: x[there["train"]] for of, x in found["train"].items()}
    scores = scores_of(model, known, whole.splits["train"].labels[there["train"]])
    areas: dict[str, list[float]] = {}
    for what, score in scores.items():
        for part in ("validation", "test"):
            values = score(found[part])
            areas.setdefault(what, []).append(area_under_roc(values[there[part]], values[~there[part]]))
    return areas


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", default="")
    parser.add_argument("--out", default="runs/unknown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    config = uci_har.get_config()
    config.data.raw_dir = arguments.raw
    whole = build_dataset(config.data)
    areas = {name: measure(name, whole, arguments) for name in UCI_HAR_CLASSES}
    for place, part in enumerate(("validation", "test")):
        print(f"\n{part} people\n\n| | {' | '.join(areas)} | mean without laying |\n|{'---|' * (2 + len(areas))}")
        for what in areas["laying"]:
            row = [areas[name][what][place] for name in areas]
            mean = np.mean([value for name, value in zip(areas, row, strict=True) if name != "laying"])
            print(f"| {what} | {' | '.join(f'{value:.3f}' for value in row)} | {mean:.3f} |")


if __name__ == "__main__":
    main()
