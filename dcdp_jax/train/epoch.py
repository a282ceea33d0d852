"""What the steps of an epoch leave behind: records for the log, and what resuming within the epoch needs."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dcdp_jax.config import flatten


@dataclasses.dataclass
class Epoch:
    """An epoch while it is trained. Together with the state it is all that going on with the epoch needs.

    Attributes:
      number: from 1.
      steps: taken in it.
      records: (number of the last step, means over the steps since the last record).
      pending: (number of the step, metrics) of the steps that are in no record yet.
      dispatched: (first step, how many, metrics with a leading axis) of steps that may not have been computed yet.
      nonfinite: {step, values} of the steps whose loss or gradient was not finite; they enter no record.
    """

    number: int
    steps: int = 0
    records: list[tuple[int, dict[str, Any]]] = dataclasses.field(default_factory=list)
    pending: list[tuple[int, dict[str, Any]]] = dataclasses.field(default_factory=list)
    nonfinite: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    dispatched: list[tuple[int, int, dict[str, Any]]] = dataclasses.field(default_factory=list)

    def add(self, metrics: dict[str, Any], count: int) -> None:
        """Takes the metrics of some steps, which need not have been computed yet.

        Args:
          metrics: each with a leading axis of at least `count`.
          count: steps.
        """
        self.dispatched.append((self.steps + 1, count, metrics))
        self.steps += count

    def fetch(self) -> None:
        """Waits for the dispatched steps, and sets those aside that are not finite."""
        for first, count, stacked in jax.device_get(self.dispatched):
            for i in range(count):
                metrics = jax.tree.map(lambda x, i=i: float(x[i]), stacked)
                if metrics["finite"]:
                    self.pending.append((first + i, metrics))
                else:
                    self.nonfinite.append({"step": first + i, "values": nonfinite_values(metrics)})
        self.dispatched = []

    def record(self, every: int, last: int) -> None:
        """Makes a record of each `every` steps that are complete, where any of them was finite.

        Args:
          every: steps.
          last: step of the epoch, after which nothing more comes.
        """
        self.fetch()
        complete = self.steps if self.steps == last else self.steps // every * every
        ready = [(step, metrics) for step, metrics in self.pending if step <= complete]
        for _, group in itertools.groupby(ready, key=lambda pair: (pair[0] - 1) // every):
            numbers, metrics = zip(*group, strict=True)
            self.records.append((numbers[-1], mean_of(metrics)))
        self.pending = self.pending[len(ready) :]

    def is_lost(self, may_skip: int, last: int) -> bool:
        """Whether more steps than may be skipped were not finite, or all of the epoch's.

        Args:
          may_skip: steps.
          last: step of the epoch, after which nothing more comes.
        """
        return len(self.nonfinite) > may_skip or (self.steps == last and not self.records)

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


def mean_of(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over steps, as Python numbers; the number of steps they stand for as `steps`."""
    means = jax.tree.map(lambda *values: float(np.mean(values, dtype=np.float64)), *metrics)
    del means["finite"]
    return {**means, "steps": len(metrics)}


def nonfinite_values(metrics: Mapping[str, Any]) -> dict[str, str]:
    """{name: nan or inf} of the metrics that are not finite."""
    return {name: str(value) for name, value in flatten(dict(metrics)) if not math.isfinite(value)}
