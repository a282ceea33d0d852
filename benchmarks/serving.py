"""One prediction of the full model on one core, in every format that it can be exported to.

    PYTHONPATH=. python benchmarks/serving.py [--rounds 200] [--batch 128] [--formats jax,onnx,tflite,tflite_int8]

Width 64, default depths, windows of 128 samples at 50 Hz, 6 channels, random parameters. The process runs on one core.
`samples to event` is `Recognizer.push` with the last samples of a window. Every round runs each format once, so that a
machine whose speed drifts favours none. At `--batch`, TFLite, whose model is of one window, takes them one by one.
A matrix product of 1024 x 1024 in NumPy says what the core can do. Formats that are not installed are left out.
Goal: below 2 ms, and below 5 % of a core at 50 Hz.
"""

import argparse
import os
import statistics
import time

CORE = max(os.sched_getaffinity(0))
os.sched_setaffinity(0, {CORE})  # before the libraries count cores
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import jax  # noqa: E402
import machine  # noqa: E402
import numpy as np  # noqa: E402
from sizes import flops  # noqa: E402

from dcdp_jax.data.recording import Channel  # noqa: E402
from dcdp_jax.errors import ConfigError  # noqa: E402
from dcdp_jax.models.multipath import BranchSpec, MultiPath  # noqa: E402
from dcdp_jax.runs.model_card import ModelCard  # noqa: E402
from dcdp_jax.serve.adaptation import adapting_forward  # noqa: E402
from dcdp_jax.serve.export import plausible_windows  # noqa: E402
from dcdp_jax.serve.formats import to_jax, to_onnx, to_tflite  # noqa: E402
from dcdp_jax.serve.model import TrainedModel, forward  # noqa: E402
from dcdp_jax.serve.standalone import Model  # noqa: E402
from dcdp_jax.serve.stream import Recognizer  # noqa: E402

RATE, WINDOW, STEP = 50.0, 128, 64
EVENT = "samples to event"


def make_model() -> TrainedModel:
    channels = tuple(Channel(f"{group}_{axis}", group, "hip", "") for group in ("acc", "gyro") for axis in "xyz")
    branches = (BranchSpec("res", "resnet", (0, 1, 2)), BranchSpec("dense", "densenet", (3, 4, 5)))
    names = tuple("abcdef")
    card = ModelCard(
        version="0",
        dataset="random",
        protocol="",
        class_names=names,
        inputs=channels,
        decimate=1,
        view="raw",
        channels=channels,
        rate=RATE,
        window=WINDOW,
        step=STEP,
        shift=(0.1,) * 6,
        scale=(1.5,) * 6,
        branches=branches,
        best_epoch=1,
        marks=(),
    )
    network = MultiPath(branches, len(names))
    variables = jax.jit(network.init)(jax.random.key(0), np.zeros((1, WINDOW, 6), np.float32))
    return TrainedModel(card, network, variables)


def make_runs(model, formats):
    """{format: (function of windows, bytes or None)}."""

    def whole(windows):
        return forward(model)(windows).fusion

    compiled, windows = jax.jit(whole), plausible_windows(model.card)
    shape = windows.shape[1:]
    runs = {"jit": (lambda x: np.asarray(compiled(x)), None)}
    adapting, statistics = adapting_forward(model, rate=0.01)

    def step(windows, given):
        found, after = adapting(windows, given)
        return found.fusion, after

    def to_loader():
        content = to_jax(step, shape, statistics.size)
        card = {**model.card.as_json(), "versions": {}, "serve": {"adapt": False, "unknown": False}}
        return content, Model(card, content, statistics.tobytes()).predict

    makers = {
        "jax": to_loader,
        "onnx": lambda: to_onnx(whole, shape),
        "tflite": lambda: to_tflite(whole, shape),
        "tflite_int8": lambda: to_tflite(whole, shape, windows),
    }
    for name in formats:
        try:
            content, run = makers[name]()
        except ConfigError as error:
            print(error)
            continue
        runs[name] = (one_thread(content) if name == "onnx" else run, len(content))
    return runs


def one_thread(content):
    """Onnxruntime would start a thread for each core of the machine, all on this one."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda windows: session.run(["probabilities"], {"windows": windows})[0]


def seconds_of(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def spread(values, factor=1e3):
    low, *_, high = (q := statistics.quantiles([v * factor for v in values], n=20))
    return f"{q[9]:.2f} ({min(values) * factor:.2f}; {low:.2f} - {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--formats", default="jax,onnx,tflite,tflite_int8")
    asked = parser.parse_args()
    model = make_model()
    runs = make_runs(model, asked.formats.split(","))
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, WINDOW, 6)).astype(np.float32)
    many = rng.normal(size=(asked.batch, WINDOW, 6)).astype(np.float32)
    product = rng.normal(size=(1024, 1024)).astype(np.float32)
    recognizer = Recognizer(model)
    recognizer.push(one[0])

    def event():
        found = recognizer.push(one[0, :STEP])
        if len(found) != 1:
            raise RuntimeError(f"{len(found)} events")

    calls = {name: lambda run=run: run(one) for name, (run, _) in runs.items()}
    calls |= {EVENT: event, "product": lambda: product @ product}
    times = {name: [] for name in calls}
    for number in range(-5, asked.rounds):
        for name, call in calls.items():
            seconds = seconds_of(call)
            if number >= 0:
                times[name].append(seconds)
    batches = {name: [seconds_of(lambda run=run: run(many)) for _ in range(6)][1:] for name, (run, _) in runs.items()}

    print("\n| format | batch 1, ms: median (best; 5 - 95 %) | windows/s at batch", asked.batch, "| size, MB |")
    print("|---|---|---|---|")
    for name, (_, size) in runs.items():
        rates = [asked.batch / seconds for seconds in batches[name]]
        rate = f"{statistics.median(rates):.0f} ({min(rates):.0f} - {max(rates):.0f})"
        print(f"| {name} | {spread(times[name])} | {rate} | {f'{size / 1e6:.1f}' if size else ''} |")
    print(f"| {EVENT} (`Recognizer.push`, jit) | {spread(times[EVENT])} | | |")
    best, middle = (2 * 1024**3 / t / 1e9 for t in (min(times["product"]), statistics.median(times["product"])))
    needed = flops(lambda x: forward(model)(x).fusion, one) / 1e9
    print(
        f"\nOne window takes {needed:.3f} GFLOP: 2 ms would be {needed / 0.002:.0f} GFLOP/s. A product of 1024 x 1024 "
        f"on this core: median {middle:.0f}, best {best:.0f} GFLOP/s."
    )

    signal = rng.normal(size=(round(60 * RATE), 6)).astype(np.float32)
    before = time.process_time()
    for sample in signal:
        recognizer.push(sample[None])
    used = time.process_time() - before
    print(f"A minute at {RATE:g} Hz, pushed sample by sample: {used:.2f} s of a core, {used / 60:.2%}.")
    print(machine.describe("jax", "jax2onnx", "onnxruntime", "tensorflow", "tensorflow-cpu", "ai-edge-litert"))


if __name__ == "__main__":
    main()
