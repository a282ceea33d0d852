"""Marks cases of a parametrised test as slow."""

import pytest


def slow(*cases):
    """Returns the cases, values or tuples of values, marked so that only `make test-slow` runs them."""
    values = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [pytest.param(*value, marks=pytest.mark.slow) for value in values]
