"""Evaluates a split in padded batches."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.dataset import Dataset, Split
from dcdp_jax.metrics import Tally, tally
from dcdp_jax.optim import contribution_ratios
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.input_pipeline import divided, feed
from dcdp_jax.train.state import TrainState, evaluated_state
from dcdp_jax.train.step import Batch, Signals, apply_model, gather_windows


class Evaluation(NamedTuple):
    """Predictions and scores of one split."""

    tally: Tally  # sums from which the scores are computed
    probabilities: np.ndarray  # (n, k) float32 of the classes, in the order of the split's windows
    # {branch: (n, k)} likewise, of each branch's own classifier; empty for a baseline
    branches: Mapping[str, np.ndarray] = MappingProxyType({})


def evaluation_step(
    state: TrainState,
    signals: Signals,
    batch: Batch,
    *,
    model: nn.Module,
    window: int,
    axis_name: str,
    dtype: Any = jnp.float32,
) -> tuple[Tally, jax.Array, dict[str, jax.Array]]:
    """Computes the counts of one padded batch, summed over the devices, and the class probabilities of its windows.

    State and signals are replicated; the batch is this device's share: `starts`, `labels` and `mask`, False for
    padding, all (b,). See `train_step` for model, axis_name and dtype.

    Returns:
      `Tally`, and probabilities of the classes (b, k) of the global batch, by the fusion and by each branch.
    """
    x = gather_windows(signals, batch["starts"], window)
    outputs, _ = apply_model(model, state.params, state.batch_stats, x, dtype)
    counted = jax.lax.psum(tally(outputs.fusion, outputs.branches, batch["labels"], batch["mask"]), axis_name)
    probabilities = jax.tree.map(lambda z: jnp.exp(jax.nn.log_softmax(z)), (outputs.fusion, outputs.branches))
    return counted, *jax.lax.all_gather(probabilities, axis_name, tiled=True)


def evaluation_batch_size(config: ConfigDict, devices: Devices) -> int:
    """Returns the batch size of training, rounded up to a multiple of the number of devices."""
    return -(-config.train.batch_size // len(devices)) * len(devices)


def padded_batches(split: Split, size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of all windows of a split, in order: `starts`, `labels`, `rows` and `mask`, each (size,).

    Rows are the windows' places in the split; the last batch is padded with windows whose mask is False.
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
    """Returns a function that evaluates a state on all windows of a split."""
    step = devices.map_step(
        evaluation_step, donate_state=False, divide_signals=divided(signals), model=model, window=dataset.window
    )
    size = evaluation_batch_size(config, devices)

    def evaluate(state: TrainState, split: Split) -> Evaluation:
        state = evaluated_state(state)
        given = feed(signals, padded_batches(split, size), dataset.window, devices)
        tallies, *found = zip(*jax.device_get([step(state, *batch) for batch in given]), strict=True)
        probabilities = [
            jax.tree.map(lambda *parts: np.concatenate(parts)[: len(split.labels)], *parts) for parts in found
        ]
        return Evaluation(
            jax.tree.map(lambda *values: np.sum(values, axis=0, dtype=np.float64), *tallies), *probabilities
        )

    return evaluate


def evaluation_record(tally: Tally) -> dict[str, Any]:
    """Returns the scores of one split, and S and R of the branches on it."""
    record = {
        **tally.scores(),
        "branches": tally.branch_accuracy(),
        "windows": int(tally.confusion.sum()),
        "S": {name: float(S) for name, S in tally.confidence.items()},
    }
    if len(tally.confidence) > 1:
        ratios = contribution_ratios(jax.tree.map(jnp.float32, tally.confidence))
        record["R"] = {name: float(R) for name, R in ratios.items()}
    return record
