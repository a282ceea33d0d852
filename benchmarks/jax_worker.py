"""The contenders of `gpu.py` that run in JAX."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import traces
from contenders import Contender, Prepared
from workload import Shape, make_optimizer, make_settings, timed

from dcdp_jax.config import PRECISIONS
from dcdp_jax.losses import total_loss
from dcdp_jax.models import conv
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import StepParts, train_seeds, train_steps

TOLERANCE = 1e-4


FORMS: dict[str, dict[str, Any]] = {
    "default": {},
    "library": {"pointwise": lambda x, kernel: conv.library_convolution(x, kernel, 1)},
    "gradients by the library": {"gradients_by_platform": conv.library_gradients},
    "products": {"convolution": conv.convolution_as_products},
}


def prepare(contender: Contender, sizes: dict[str, Any], began: float) -> Prepared:
    """Compiles the training step and takes it once."""
    for name, function in FORMS[contender.form].items():
        setattr(conv, name, function)
    phases: dict[str, float] = {}
    last = began

    def phase(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        phases[name], last = now - last, now

    phase("import")
    shape, steps, seeds = Shape(**sizes), contender.steps, contender.seeds
    devices = Devices(1, precision=contender.precision)
    model, optimizer = shape.model(AXIS), make_optimizer()
    channels = sum(shape.channels)
    states = [create_state(model, optimizer, seed, shape.time, channels) for seed in range(seeds)]
    signals, starts, labels = shape.data(steps)
    batches = {"starts": starts, "labels": labels, "count": np.full(shape.batch, steps, np.int32)}
    if seeds > 1:
        batches |= {name: np.repeat(batches[name][:, None], seeds, axis=1) for name in ("starts", "labels")}
        batches["active"] = np.ones((shape.batch, seeds), bool)
    state = states[0] if seeds == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    kept = [devices.replicate(state)]
    signals, given = devices.replicate(signals), devices.shard_ahead(batches)
    jax.block_until_ready((kept[0], signals, given))
    phase("initial state")
    parts = StepParts(model, optimizer, make_settings(shape.time))
    step = devices.map_step(
        train_steps if seeds == 1 else train_seeds,
        donate_state=True,
        takes_hyperparameters=True,
        parts=lambda _: parts,
    )
    lowered = step.lower(kept[0], signals, given, {})
    phase("trace")
    compiled = lowered.compile()
    phase("compile")

    def run() -> None:
        kept[0], metrics = compiled(kept[0], signals, given, {})
        jax.block_until_ready((kept[0], metrics))

    run()
    phase("first steps")
    return Prepared(
        phases,
        run,
        steps,
        {
            "memory": lambda: {"peak_bytes": (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)},
            "kernels": lambda: profile(run, steps, compiled.as_text()),
        },
    )


def profile(run: Callable[[], None], steps: int, program: str) -> dict[str, Any]:
    """Traces one call and returns its kernels, busy and idle time by kind, per step."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        (file,) = Path(folder).rglob("*.xplane.pb")
        return traces.summary(file, steps, traces.operations(program))


def compare(contender: Contender, sizes: dict[str, Any], began: float) -> Prepared:
    """Compares logits and loss with those of the PyTorch twin, in float32 products on both sides, dropout aside."""
    import pytorch_model
    import torch
    import torch_worker

    torch_worker.set_precision("float32")
    shape = Shape(**sizes)
    model = shape.model(None)
    state = create_state(model, make_optimizer(), 0, shape.time, sum(shape.channels))
    signals, starts, labels = shape.data(1)
    windows = signals.values[starts[:, :1] + np.arange(shape.time)]
    with jax.default_matmul_precision("highest"):
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        outputs, _ = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))(variables, windows)
        loss, _ = total_loss(*outputs, jnp.asarray(labels[:, 0]), align_weight=0.7, temperature=0.5)
    device = torch_worker.device()
    twin = torch_worker.twin(shape, state.params).to(device).train()
    twin.fusion.dropout.p = 0.0
    with torch.no_grad():
        theirs = twin(torch.from_numpy(windows.transpose(0, 2, 1).copy()).to(device))
        their_loss = pytorch_model.total_loss(theirs, torch.from_numpy(labels[:, 0].astype(np.int64)).to(device))
    wanted = theirs[0].cpu().numpy()
    of_logits = float(np.linalg.norm(np.asarray(outputs.fusion) - wanted) / np.linalg.norm(wanted))
    of_loss = abs(float(loss) - float(their_loss)) / abs(float(their_loss))
    found = {"logits": of_logits, "loss": of_loss, "same": max(of_logits, of_loss) < TOLERANCE}
    return Prepared({"all": time.perf_counter() - began}, None, 0, {"equality": lambda: found})


def ceilings(size: int) -> Prepared:
    """Prepares the rates of a square matrix product in each precision, and of a copy four times the product's size."""

    def rates() -> dict[str, Any]:
        found = {}
        for precision, (dtype, products) in PRECISIONS.items():
            a = jax.random.normal(jax.random.key(0), (size, size), dtype)
            product = jax.jit(lambda a, products=products: jax.lax.dot(a, a, precision=products))
            found[f"product in {precision}, TFLOP/s"] = 2 * size**3 / fastest(product, a) / 1e12
        x = jax.random.normal(jax.random.key(0), (4 * size * size,), jnp.float32)
        found["copy, TB/s"] = 2 * x.nbytes / fastest(jax.jit(lambda x: x + 1), x) / 1e12
        return found

    return Prepared({}, None, 0, {"ceilings": rates})


def fastest(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    """Returns the seconds of a call: the median over five rounds of ten calls, after one to compile."""
    function(x).block_until_ready()

    def ten() -> None:
        for _ in range(10):
            y = function(x)
        y.block_until_ready()

    return statistics.median(timed(ten) for _ in range(5)) / 10
