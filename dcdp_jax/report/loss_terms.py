"""Averages the terms of the training loss over each epoch, and computes their shares of the total."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dcdp_jax.report.page import number, percent
from dcdp_jax.report.tables import Table

# Terms that L_total multiplies by lambda; see `dcdp_jax.losses.total_loss`.
WEIGHTED = ("contrast", "align")


def epoch_means(steps: Sequence[dict[str, Any]], group: str) -> dict[int, dict[str, float]]:
    """Returns the means over each epoch of what a group of step records holds, in order; null is left out of a mean."""
    found: dict[int, dict[str, list[tuple[float, int]]]] = {}
    for record in steps:
        for name, value in record.get(group, {}).items():
            if value is not None:
                found.setdefault(record["epoch"], {}).setdefault(name, []).append((value, record.get("steps", 1)))
    means: dict[int, dict[str, float]] = {}
    for epoch, named in sorted(found.items()):
        for name, pairs in named.items():
            values, counts = zip(*pairs, strict=True)
            means.setdefault(epoch, {})[name] = float(np.average(values, weights=counts))
    return means


def share_table(steps: Sequence[dict[str, Any]], align_weight: float | None) -> Table | None:
    """Returns what each term adds to the total in the first and in the last epoch, and its share in per cent.

    What contrast and alignment add is n/a where lambda, `align_weight`, is None. None where no term was logged.
    """
    means = epoch_means(steps, "loss")
    if not means:
        return None
    shown = {epoch: means[epoch] for epoch in (min(means), max(means))}
    rows = []
    for term in dict.fromkeys(term for terms in shown.values() for term in terms if term != "total"):
        weight = align_weight if term in WEIGHTED else 1.0
        row = [term, number(weight, "{:g}")]
        for terms in shown.values():
            added = None if weight is None or term not in terms else weight * terms[term]
            total = terms.get("total")
            row += [number(added, "{:.3g}"), percent(added / total if added is not None and total else None)]
        rows.append(row)
    totals = [cell for terms in shown.values() for cell in (number(terms.get("total"), "{:.3g}"), "")]
    head = [title for epoch in shown for title in (f"Epoch {epoch}", "Share, %")]
    return Table(["Term", "Weight", *head], [*rows, ["total", "", *totals]])
