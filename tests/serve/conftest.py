"""The model of the finished run."""

import pytest

from dcdp_jax.serve.model import load_model


@pytest.fixture(scope="session")
def model(finished):
    return load_model(finished)
