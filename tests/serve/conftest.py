"""One small run of the demo, trained as a user trains it, and models that no one has trained."""

import shutil

import pytest

from configs import demo
from dcdp_jax.serve.model import load_model
from tests.e2e.running import launch
from tests.e2e.test_train import ARGUMENTS  # the same run, so that its programs need not be compiled again


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The workdir of a finished run; for reading only."""
    workdir = tmp_path_factory.mktemp("serve") / "run"
    status, _, errors = launch(*ARGUMENTS, f"--workdir={workdir}")
    assert status == 0, errors
    return workdir


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="session")
def model(finished):
    return load_model(finished)


@pytest.fixture(scope="session")
def data():
    """The `data` part of the run's config."""
    data = demo.get_config().data
    data.synthetic.subjects, data.synthetic.minutes = 5, 4.0
    return data
