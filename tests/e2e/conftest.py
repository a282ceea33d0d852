"""Ends what a failed test leaves behind."""

import pytest

from tests.e2e.running import started

collect_ignore = ["holding"]


@pytest.fixture(autouse=True)
def no_process_outlives_its_test():
    yield
    while started:
        with started.pop() as process:
            process.kill()
