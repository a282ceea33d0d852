"""File formats of an exported model. Each function returns a file's content and a function that runs that content.

The function uses the format's own runtime, so that the check covers what a user runs. For `to_jax` it is the loader in
the exported folder, `dcdp_jax.serve.standalone`.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax import export

from dcdp_jax.errors import ConfigError
from dcdp_jax.evaluate.portability import PLATFORMS

Forward = Callable[[Any], jax.Array]  # (b, t, c) -> (b, k)
Run = Callable[[np.ndarray], np.ndarray]  # the same, on NumPy arrays
# (b, t, c) windows and (s,) statistics -> (b, k) and the statistics after the windows, (s,).
Step = Callable[[Any, Any], tuple[jax.Array, jax.Array]]

EXTRAS = {"onnx": "export", "tflite": "tflite"}  # {format: extra that has its packages}


def to_jax(step: Step, shape: tuple[int, int], statistics: int) -> bytes:
    """Returns an artifact of jax.export for any number of (t, c) windows and s statistics, on `PLATFORMS`."""
    (b,) = export.symbolic_shape("b")
    inputs = jax.ShapeDtypeStruct((b, *shape), np.float32), jax.ShapeDtypeStruct((statistics,), np.float32)
    return bytes(export.export(jax.jit(step), platforms=PLATFORMS)(*inputs).serialize())


def to_onnx(
    forward: Callable[..., Any],
    shape: tuple[int, int],
    outputs: Sequence[str] = ("probabilities",),
    statistics: int = 0,
) -> tuple[bytes, Callable[..., list[np.ndarray]]]:
    """Returns an ONNX model for any number of windows, and a function of its inputs that runs it.

    Its inputs are `windows`, and `statistics` if there are any, s of them; `outputs` are the names of what it returns.
    `forward` is a function of (b, t, c) windows, and (s,) statistics if there are any, that returns an array, or a
    tuple of them; the shape is (t, c). Raises ConfigError where jax2onnx or onnxruntime is not installed.
    """
    with needs("onnx"), quiet():
        from jax2onnx import to_onnx as convert
        from onnx_ir import from_proto, to_proto
        from onnx_ir.passes.common import RemoveUnusedNodesPass
        from onnxruntime import InferenceSession, SessionOptions
    inputs: dict[str, tuple[int | str, ...]] = {"windows": ("b", *shape)}
    inputs |= {"statistics": (statistics,)} if statistics else {}
    names = {"input_names": list(inputs), "output_names": list(outputs), "model_name": "dcdp_jax"}
    with quiet():
        converted = convert(forward, list(inputs.values()), **names)
    # jax2onnx leaves nodes in the graph that no output depends on, such as the projection heads.
    model = to_proto(RemoveUnusedNodesPass()(from_proto(converted)).model)
    # The shapes that it notes inside the graph are not always right, and are not needed.
    del model.graph.value_info[:]
    content = model.SerializeToString()
    session = InferenceSession(content, SessionOptions(), providers=["CPUExecutionProvider"])
    return content, lambda *given: session.run(list(outputs), dict(zip(inputs, given, strict=True)))


def to_tflite(forward: Forward, shape: tuple[int, int], examples: np.ndarray | None = None) -> tuple[bytes, Run]:
    """Returns a TFLite model of one float32 window, (1, t, c) -> (1, k), and a function that runs it window by window.

    With examples, (n, t, c) windows of training, weights and activations become int8, with ranges found on these.
    Raises ConfigError where TensorFlow or ai-edge-litert is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow logs at the start
    with needs("tflite"):
        import tensorflow as tf
        from ai_edge_litert.interpreter import Interpreter  # noqa: F401 - if missing, fails before the conversion
        from jax.experimental import jax2tf
    signature = [tf.TensorSpec((1, *shape), tf.float32, name="windows")]
    function = tf.function(jax2tf.convert(forward, with_gradient=False), input_signature=signature, autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([window[None]] for window in examples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with warnings.catch_warnings():
        # TensorFlow warns so about every model whose input stays float32.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected", UserWarning)
        content = bytes(converter.convert())
    return content, run_tflite(content)


def run_tflite(content: bytes) -> Run:
    """Returns a function that runs a TFLite model on one thread, window by window: (n, t, c) -> (n, k)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(windows: np.ndarray) -> np.ndarray:
        answers = []
        for i in range(len(windows)):
            interpreter.set_tensor(source["index"], windows[i : i + 1])
            interpreter.invoke()
            answers.append(interpreter.get_tensor(answer["index"]))
        return np.concatenate(answers)

    return run


@contextlib.contextmanager
def needs(format_name: str) -> Iterator[None]:
    """Raises ConfigError, which names the extra to install, for a package that is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--formats={format_name} needs {error.name}, which is not installed: "
            f"pip install 'dcdp_jax[{EXTRAS[format_name]}]'"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences jax2onnx, which logs and warns about plugins for libraries that the model does not use."""
    logger = logging.getLogger("jax2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
