"""The publishers' own descriptions, from ../shared/data/docs where that is there."""

from pathlib import Path

import pytest

DOCUMENTS = Path(__file__).parents[4] / "shared" / "data" / "docs"


def document(name):
    """Text of a description; skips where it is not there."""
    path = DOCUMENTS / name
    if not path.exists():
        pytest.skip(f"no {path}")
    return path.read_text()
