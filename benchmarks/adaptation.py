"""What adaptation to a wearer brings, by folds over the subjects: accuracy on the people of each fold.

    python benchmarks/adaptation.py hapt dsads [--raw FOLDER] [--out runs/adaptation] [--folds 5] [--seconds 5 20]
        [--people test] [--rate RATE] [--share SHARE]

Trains the model of each fold unless it is there (protocol `groups`, width 8, ResNet (1,1), DenseNet (2,2)): three
epochs on HAPT, five on DSADS. Then, on the fold's people:

  none    the model as it is;
  norm    `serve.adapt=norm`: the statistics of batch normalisation follow each person's windows in their order;
  5, 20   `data.calibration`: the classifiers are trained on the first seconds of each class of the person, and the
          other windows are tested; `before` is the model as it is on these windows.

`--people validation` measures on the people that validate in the fold, by which constants of adaptation may be chosen.
They are the test people of the next fold.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.configs import dsads, hapt
from dcdp_jax.data.dataset import Dataset, build_dataset
from dcdp_jax.evaluate.calibrated import measure_calibration
from dcdp_jax.serve.adaptation import AdaptingModel
from dcdp_jax.serve.model import TrainedModel, load_model, probabilities
from dcdp_jax.train.trainer import train

SETS, EPOCHS = {"hapt": hapt, "dsads": dsads}, {"hapt": 3, "dsads": 5}


def config_of(name: str, fold: int, arguments: argparse.Namespace) -> ConfigDict:
    """Returns the config of a fold."""
    config = SETS[name].get_config()
    config.data.raw_dir = arguments.raw
    config.data.update(protocol="groups", folds=arguments.folds, fold=fold)
    config.model.update(width=8, resnet_blocks=(1, 1), densenet_blocks=(2, 2))
    config.train.epochs = EPOCHS[name]
    config.parallel.devices = 1
    return config


def people_of(config: ConfigDict, model: TrainedModel, fold: int, seconds: float = 0.0) -> Dataset:
    """Returns the data set in which the people of a fold test, with the normalisation of the model."""
    data = config.data.copy_and_resolve_references()
    data.update(fold=fold, calibration=float(seconds))
    return dataclasses.replace(build_dataset(data), normalizer=model.card.normalizer)


def accuracy_of_stream(model: TrainedModel, dataset: Dataset) -> float:
    """Returns the accuracy where the statistics follow the windows of each test person, from those of training."""
    test, right = dataset.splits["test"], 0
    for subject in np.unique(test.subjects):
        own = test.subjects == subject
        found = AdaptingModel(model).predict(dataset.windows_at(test.starts[own]))
        right += np.count_nonzero(found.probabilities.argmax(axis=1) == test.labels[own])
    return right / len(test.labels)


def measure_fold(name: str, fold: int, arguments: argparse.Namespace) -> list[float]:
    """Returns the accuracies of a fold in per cent: none, norm, and before and after for each number of seconds."""
    config, workdir = config_of(name, fold, arguments), Path(arguments.out) / f"{name}-{fold}"
    train(config, workdir)
    rate, share = arguments.rate or config.serve.adapt_rate, arguments.share or config.serve.adapt_share
    model = load_model(workdir)._replace(adapt=rate, adapt_share=share)
    people = (fold + 1) % arguments.folds if arguments.people == "validation" else fold
    dataset = people_of(config, model, people)
    test = dataset.splits["test"]
    found = probabilities(model, dataset.windows_at(test.starts)).fusion.argmax(axis=1)
    row = [float(np.mean(found == test.labels)), accuracy_of_stream(model, dataset)]
    for seconds in arguments.seconds:
        dataset = people_of(config, model, people, seconds)
        measured = measure_calibration(dataset, model.network, model.variables, seconds)
        row += [measured[when]["accuracy"] for when in ("before", "after")]
    return [100 * value for value in row]


def main() -> None:
    """Prints a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=SETS)
    parser.add_argument("--raw", default="")
    parser.add_argument("--out", default="runs/adaptation")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seconds", type=int, nargs="*", default=[5, 20])
    parser.add_argument("--people", choices=("test", "validation"), default="test")
    parser.add_argument("--rate", type=float, default=0.0, help="of `norm`; 0 for the default of serve.adapt_rate")
    parser.add_argument("--share", type=float, default=0.0, help="likewise, of serve.adapt_share")
    arguments = parser.parse_args()
    for name in arguments.sets:
        rows = np.array([measure_fold(name, fold, arguments) for fold in range(arguments.folds)])
        heads = ["none", "norm", *(f"{head} {s} s" for s in arguments.seconds for head in ("before", "after"))]
        print(f"\n{name}, {arguments.people} people\n\n| fold | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
        for fold, row in [*enumerate(rows), ("mean", rows.mean(axis=0))]:
            print(f"| {fold} | {' | '.join(f'{value:.2f}' for value in row)} |")


if __name__ == "__main__":
    main()
