"""FLOPs against counts by hand."""

import runpy
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from benchmarks.sizes import flops, model_size
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.baselines.cnn import CNN
from dcdp_jax.models.baselines.lstm import StackedLSTM
from dcdp_jax.models.conv import Conv1D

T, C, K = 32, 6, 5


def test_a_dense_layer_is_exact():
    model = nn.Dense(7)
    assert model_size(model, T, C) == (C * 7 + 7, 2 * T * C * 7 + T * 7)


def test_a_convolution_is_exact():
    """Products with the zeros at both ends are not carried out: two of the 3 t taps."""
    assert model_size(Conv1D(4, 3), T, C) == (3 * C * 4, 2 * (3 * T - 2) * C * 4)


def test_what_is_computed_once_for_a_batch_is_not_counted():
    class SquaredKernel(nn.Module):
        @nn.compact
        def __call__(self, x):
            kernel = self.param("kernel", nn.initializers.ones, (C, C))
            return x @ (kernel @ kernel)

    assert model_size(SquaredKernel(), T, C) == (C * C, 2 * T * C * C)


def test_every_pass_of_a_loop_is_counted():
    w = jnp.ones((8, 8))

    def nested(h):
        def outer(h, _):
            return jax.lax.scan(lambda h, _: (h @ w, None), h, length=3)[0], None

        return jax.jit(lambda h: jax.lax.scan(outer, h, length=5)[0])(h)

    assert flops(nested, jnp.ones((1, 8))) == pytest.approx(15 * 2 * 8 * 8, rel=0.05)


def test_the_lstm_is_what_its_matrices_cost():
    """Two layers, per step 4 gates from c (or h) inputs and h outputs; gates and cells are a few per cent on top."""

    class Network(StackedLSTM):
        def __call__(self, x):
            return super().__call__(x, False, None)

    _, found = model_size(Network(K), T, C)
    matrices = 2 * T * 4 * 128 * ((C + 128) + (128 + 128)) + 2 * 128 * K
    assert matrices < found < 1.03 * matrices


def test_the_cnn_is_what_its_matrices_cost():
    class Network(CNN):
        def __call__(self, x):
            return super().__call__(x, False, None)

    _, found = model_size(Network(K, 64), T, C)
    steps, widths = (16, 8, 4, 2), (C, 64, 128, 256, 512)
    # Of t even and stride 2, the last tap of the last step alone is outside.
    convolutions = sum(2 * (3 * t - 1) * a * b for t, a, b in zip(steps, widths, widths[1:], strict=False))
    assert convolutions < found < 1.03 * convolutions


@pytest.mark.slow
def test_the_table_has_a_row_for_every_network(monkeypatch, capsys):
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.chdir(benchmarks.parent)
    monkeypatch.syspath_prepend(benchmarks)
    monkeypatch.setattr("sys.argv", ["model_sizes.py", "--config", "configs/demo.py", "--channels", "9", "9"])
    runpy.run_path(str(benchmarks / "model_sizes.py"), run_name="__main__")
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == ["| dcdp_har", *(f"| {name}" for name in BASELINES)]
    assert all(int(parameters.replace(",", "")) > 0 for _, parameters, _ in rows)
