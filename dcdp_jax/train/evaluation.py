"""A part evaluated: its windows in padded batches, and what the model makes of each."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.dataset import Dataset, Split
from dcdp_jax.metrics import Tally
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.input_pipeline import divided, feed
from dcdp_jax.train.state import TrainState
from dcdp_jax.train.step import Signals, evaluation_step


class Evaluation(NamedTuple):
    """One reading of a part.

    Attributes:
      tally: from which the scores are made.
      probabilities: (n, k) float32 of the classes, in the order of the part's windows.
    """

    tally: Tally
    probabilities: np.ndarray


def evaluation_batch_size(config: ConfigDict, devices: Devices) -> int:
    """That of training, or the next that divides by the devices."""
    return -(-config.train.batch_size // len(devices)) * len(devices)


def padded_batches(split: Split, size: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches of all windows of a part, in order.

    Args:
      split: the part.
      size: b.

    Yields:
      `starts`, `labels`, `rows` (each window's place in the part) and `mask`, all (b,); the last batch is padded with
      windows whose mask is False.
    """
    for start in range(0, len(split.labels), size):
        rows = np.arange(start, min(start + size, len(split.labels)), dtype=np.int32)
        batch = {
            "starts": split.starts[rows],
            "labels": split.labels[rows],
            "rows": rows,
            "mask": np.ones(len(rows), bool),
        }
        yield {name: np.pad(x, (0, size - len(rows))) for name, x in batch.items()}


def make_evaluate(
    config: ConfigDict, dataset: Dataset, model: nn.Module, devices: Devices, signals: Signals
) -> Callable[[TrainState, Split], Evaluation]:
    """A function that reads all windows of a part once."""
    step = devices.map_step(
        evaluation_step, donate_state=False, divide_signals=divided(signals), model=model, window=dataset.window
    )
    size = evaluation_batch_size(config, devices)

    def evaluate(state: TrainState, split: Split) -> Evaluation:
        given = feed(signals, padded_batches(split, size), dataset.window, devices)
        tallies, probabilities = zip(*jax.device_get([step(state, *batch) for batch in given]), strict=True)
        return Evaluation(
            jax.tree.map(lambda *values: np.sum(values, axis=0, dtype=np.float64), *tallies),
            np.concatenate(probabilities)[: len(split.labels)],
        )

    return evaluate
