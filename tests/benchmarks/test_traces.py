"""What a kernel is for, and how long a device is busy."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "traces.py"
spec = importlib.util.spec_from_file_location("traces", PATH)
traces = importlib.util.module_from_spec(spec)
spec.loader.exec_module(traces)


@pytest.mark.parametrize(
    ("kernel", "op_name", "kind"),
    [
        ("loop_add_fusion.3", "jit(step)/while/body/optimizer/add", "optimiser"),
        (
            "input_reduce_fusion",
            "jit(step)/jvp(MultiPath)/res/stage1_block1/BatchNorm_0/BatchNorm_0/reduce",
            "normalisation",
        ),
        ("sm90_xmma_wgrad_implicit_gemm_indexed_tf32", "", "convolution"),
        ("gemm_fusion_dot_3", "jit(step)/jvp(MultiPath)/dense/stage1_layer1/Conv1D_0/dot_general", "convolution"),
        ("copy.12", "", "copies"),
        ("MemcpyD2D", "", "copies"),
        ("loop_concatenate_fusion", "jit(step)/jvp(MultiPath)/dense/concatenate", "other"),
    ],
)
def test_kinds(kernel, op_name, kind):
    assert traces.kind_of(kernel, op_name) == kind


def test_busy_time_counts_what_overlaps_once():
    assert traces.covered([(0, 4), (1, 2), (3, 6), (10, 11)]) == 7


def test_operations_of_a_program():
    program = """
ENTRY %main {
  %x.1 = f32[2]{0} parameter(0), metadata={op_name="x"}
  ROOT %add.2 = f32[2]{0} add(%x.1, %x.1), metadata={op_name="jit(f)/optimizer/add" source_line=1}
}
"""
    assert traces.operations(program) == {"x_1": "x", "add_2": "jit(f)/optimizer/add"}
