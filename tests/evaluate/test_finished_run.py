"""A finished run that is evaluated again: what is said where its scores differ."""

from types import SimpleNamespace

import pytest

from dcdp_jax.evaluate.finished_run import computed_elsewhere


@pytest.mark.parametrize(
    ("precision", "device", "end"),
    [
        ("float32", "8 x cpu (cpu)", ""),
        ("tf32", "1 x cpu (cpu)", "trained in tf32 on 1 x cpu (cpu), and this is float32 on 1 x cpu (cpu)"),
        ("float32", "1 x NVIDIA H100 (gpu)", "trained in float32 on 1 x NVIDIA H100 (gpu), and this is float32"),
    ],
)
def test_scores_that_differ_on_another_device_are_explained(precision, device, end):
    here = SimpleNamespace(precision="float32", describe=lambda: "1 x cpu (cpu)")
    message = computed_elsewhere({"precision": precision, "device": device}, here)
    assert bool(message) == bool(end)
    assert end in message
