"""How many kernels a step of a compiled program has."""

import importlib.util
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
PROGRAM = """
%wrapped (param_0: f32[4]) -> f32[4] {
  %param_0 = f32[4]{0} parameter(0)
  ROOT %multiply.1 = f32[4]{0} multiply(%param_0, %param_0)
}

%inner (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %wrapped_multiply = f32[4]{0} fusion(%p), kind=kLoop@MULTIPLY
}

%body (arg: (s32[], f32[4])) -> (s32[], f32[4]) {
  %arg = (s32[], f32[4]{0}) parameter(0)
  %get-tuple-element.1 = f32[4]{0} get-tuple-element(%arg), index=1
  %call.1 = f32[4]{0} call(%get-tuple-element.1), to_apply=%inner
  %cudnn-conv.1 = (f32[4]{0}, u8[0]{0}) custom-call(%call.1)@CONVOLVE
  %copy.1 = f32[4]{0} copy(%call.1)
  ROOT %tuple.1 = (s32[], f32[4]{0}) tuple(%arg, %copy.1)
}

ENTRY %main (a: (s32[], f32[4])) -> (s32[], f32[4]) {
  %a = (s32[], f32[4]{0}) parameter(0)
  ROOT %while.1 = (s32[], f32[4]{0}) while(%a), condition=%condition, body=%body
}
""".replace(
    "@MULTIPLY", ', calls=%wrapped_multiply_computation, metadata={op_name="jit(step)/while/body/optimizer/mul"}'
)
PROGRAM = PROGRAM.replace("@CONVOLVE", ', metadata={op_name="jit(step)/while/body/res/Conv1D_0/conv"}')


@pytest.fixture(scope="module")
def without_card():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("without_card", FOLDER / "without_card.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("without_card", None)


def test_kernels_of_the_loop_are_counted_through_calls_and_by_kind(without_card):
    kernels = without_card.kernels_of_a_step(PROGRAM)
    assert [kernel.name for kernel in kernels] == ["wrapped_multiply", "cudnn-conv.1", "copy.1"]
    assert without_card.by_kind(kernels) == {
        "normalisation": 0,
        "convolution": 1,
        "optimiser": 1,
        "copies": 1,
        "other": 0,
    }


def test_the_text_of_a_compiled_program_is_understood(without_card):
    def step(x):
        return jax.lax.fori_loop(0, 5, lambda _, y: jnp.sort(y) * 2, x)

    text = jax.jit(step).lower(jnp.arange(4.0)).compile().as_text()
    assert "sort" in {kernel.operation for kernel in without_card.kernels_of_a_step(text)}
