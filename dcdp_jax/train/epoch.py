"""What the steps of an epoch leave behind: records for the log, and what resuming within the epoch needs."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dcdp_jax.train.config import flatten


@dataclasses.dataclass
class Epoch:
    """An epoch while it is trained. Together with the state it is all that going on with the epoch needs.

    Attributes:
      number: from 1.
      steps: taken in it.
      records: (number of the last step, means over the steps since the last record).
      pending: (number of the step, metrics) of the steps that are in no record yet.
      nonfinite: {step, values} of the steps whose loss or gradient was not finite; they enter no record.
    """

    number: int
    steps: int = 0
    records: list[tuple[int, dict[str, Any]]] = dataclasses.field(default_factory=list)
    pending: list[tuple[int, dict[str, Any]]] = dataclasses.field(default_factory=list)
    nonfinite: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def add(self, metrics: dict[str, Any]) -> None:
        """Takes the metrics of a step, which need not have been computed yet."""
        self.steps += 1
        self.pending.append((self.steps, metrics))

    def fetch(self) -> None:
        """Waits for the pending metrics, and sets those aside that are not finite."""
        fetched = [(step, jax.tree.map(float, metrics)) for step, metrics in jax.device_get(self.pending)]
        self.pending = [(step, metrics) for step, metrics in fetched if metrics["finite"]]
        self.nonfinite += [
            {"step": step, "values": nonfinite_values(metrics)} for step, metrics in fetched if not metrics["finite"]
        ]

    def record(self) -> None:
        """Makes a record of the pending steps, where there are any."""
        self.fetch()
        if self.pending:
            self.records.append((self.pending[-1][0], mean_of([metrics for _, metrics in self.pending])))
            self.pending = []

    def last_record(self) -> dict[str, Any] | None:
        """The one made last; None before the first."""
        return self.records[-1][1] if self.records else None

    def means(self) -> dict[str, float]:
        """Mean total loss and accuracy over the recorded steps."""
        steps = [record["steps"] for _, record in self.records]
        return {
            "loss": float(np.average([record["loss"]["total"] for _, record in self.records], weights=steps)),
            "accuracy": float(np.average([record["accuracy"] for _, record in self.records], weights=steps)),
        }


def mean_of(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over steps, as Python numbers; the number of steps they stand for as `steps`."""
    means = jax.tree.map(lambda *values: float(np.mean(values, dtype=np.float64)), *metrics)
    del means["finite"]
    return {**means, "steps": len(metrics)}


def nonfinite_values(metrics: Mapping[str, Any]) -> dict[str, str]:
    """{name: nan or inf} of the metrics that are not finite."""
    return {name: str(value) for name, value in flatten(dict(metrics)) if not math.isfinite(value)}
