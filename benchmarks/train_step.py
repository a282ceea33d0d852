"""Training steps of the full model against the same model in PyTorch, in turn, in one process.

    python benchmarks/train_step.py [--batch 64] [--time 128] [--channels 6 3] [--classes 6] [--width 64] [--rounds 20]
        [--precision float32 tf32 bfloat16] [--steps-per-dispatch 1 32] [--compile]
        [--resnet-blocks 3 4 6 3] [--densenet-blocks 4 4 6 4]

Both compute the same logits and loss from the same parameters, which is checked before anything is timed. Rounds
alternate between all contenders, so that a machine whose speed drifts favours none. PyTorch runs on the GPU where JAX
does. Needs the extra `benchmark`; `make benchmark-gpu` is what to run on a card.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import machine
import numpy as np
import pytorch_model
import torch
import workload

from dcdp_jax.config import PRECISIONS
from dcdp_jax.losses import total_loss
from dcdp_jax.models.multipath import MultiPath
from dcdp_jax.models.sizes import model_size
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import train_steps

TOLERANCE = 1e-4
SAMPLES = 20_000


class Contender(NamedTuple):
    """What is timed.

    Attributes:
      name: for the table.
      run: takes so many steps and waits for them.
      first_call: seconds that the first took, compilation included.
      precision: one of `PRECISIONS`.
      bytes: moved between memory and processor in a step, as XLA counts them; 0 where it does not.
    """

    name: str
    run: Callable[[], None]
    first_call: float
    precision: str
    bytes: float = 0.0


def main() -> None:
    asked = options().parse_args()
    report(asked, *measure(asked))


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--time", type=int, default=128)
    parser.add_argument("--channels", type=int, nargs=2, default=(6, 3))
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--steps-per-dispatch", type=int, nargs="+", default=[1])
    parser.add_argument("--resnet-blocks", type=int, nargs=4, default=(3, 4, 6, 3))
    parser.add_argument("--densenet-blocks", type=int, nargs=4, default=(4, 4, 6, 4))
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    return parser


def measure(asked: argparse.Namespace) -> tuple[list[Contender], dict[str, list[float]], int]:
    """Times what is asked for: the contenders, the seconds of every round of each, and how many steps a round has."""
    channels = sum(asked.channels)
    model = network(asked, AXIS)
    optimizer = workload.make_optimizer()
    state = create_state(model, optimizer, 0, asked.time, channels)
    rng = np.random.default_rng(0)
    signals = workload.make_signals(rng, SAMPLES, channels)
    # Every contender takes as many steps a round as the longest dispatch.
    steps = max(asked.steps_per_dispatch)
    starts = rng.integers(0, SAMPLES - asked.time, (asked.batch, steps)).astype(np.int32)
    labels = rng.integers(0, asked.classes, (asked.batch, steps)).astype(np.int32)
    windows = signals.values[starts[..., None] + np.arange(asked.time)]  # (b, steps, t, c)

    cuda = jax.devices()[0].platform == "gpu"
    twin = pytorch_model.MultiPath(
        tuple(asked.channels), asked.classes, asked.width, asked.resnet_blocks, asked.densenet_blocks
    )
    pytorch_model.load(twin, state.params)
    check_same(model, state, twin, windows[:, 0], labels[:, 0])

    settings = workload.make_settings(asked.time)
    contenders = [
        ours(model, optimizer, settings, state, signals, starts, labels, precision, count)
        for precision in asked.precision
        for count in asked.steps_per_dispatch
    ]
    given = [
        (torch.from_numpy(windows[:, i].transpose(0, 2, 1).copy()), torch.from_numpy(labels[:, i]))
        for i in range(steps)
    ]
    for precision in asked.precision if cuda else ["float32"]:
        for compiled in (False, True) if asked.compile else (False,):
            contenders.append(theirs(twin, given, precision, compiled, cuda))

    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(asked.rounds + 2):
        for contender in contenders:
            began = time.perf_counter()
            contender.run()
            seconds[contender.name].append(time.perf_counter() - began)
    return contenders, {name: taken[2:] for name, taken in seconds.items()}, steps


def network(asked: argparse.Namespace, axis_name: str | None = None) -> MultiPath:
    """The model that is asked for."""
    return workload.make_model(
        asked.channels,
        axis_name,
        classes=asked.classes,
        width=asked.width,
        resnet_blocks=tuple(asked.resnet_blocks),
        densenet_blocks=tuple(asked.densenet_blocks),
    )


def ours(model, optimizer, settings, state, signals, starts, labels, precision: str, count: int) -> Contender:
    """This project's step, `count` in one program."""
    devices = Devices(1, precision=precision)
    step = devices.map_step(train_steps, donate_state=True, model=model, optimizer=optimizer, settings=settings)
    kept = [devices.replicate(state)]
    signals = devices.replicate(signals)
    shape = {"starts": starts[:, :count], "labels": labels[:, :count], "count": np.full(len(starts), count, np.int32)}
    began = time.perf_counter()
    step = step.lower(kept[0], signals, devices.shard(shape)).compile()
    compiling = time.perf_counter() - began

    def run() -> None:
        for first in range(0, starts.shape[1], count):
            chosen = slice(first, first + count)
            missing = ((0, 0), (0, count - starts[:, chosen].shape[1]))
            batches = {"starts": np.pad(starts[:, chosen], missing), "labels": np.pad(labels[:, chosen], missing)}
            batches["count"] = np.full(len(starts), count - missing[1][1], np.int32)
            kept[0], metrics = step(kept[0], signals, devices.shard(batches))
        jax.block_until_ready((kept[0], metrics))

    name = f"dcdp_jax, {precision}, {count} a dispatch"
    moved = (step.cost_analysis() or {}).get("bytes accessed", 0.0)
    return Contender(name, run, compiling + workload.timed(run), precision, moved)


def theirs(twin: torch.nn.Module, given, precision: str, compiled: bool, cuda: bool) -> Contender:
    """PyTorch's step on a copy of the model; the data is on its device before."""
    device = torch.device("cuda" if cuda else "cpu")
    network = copy.deepcopy(twin).to(device)
    adamw = pytorch_model.optimizer(network)
    step = torch.compile(pytorch_model.train_step) if compiled else pytorch_model.train_step
    batches = [(x.to(device), y.to(device, torch.int64)) for x, y in given]
    kind = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

    def run() -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        with kind:
            for x, y in batches:
                step(network, adamw, x, y)
        if cuda:
            torch.cuda.synchronize()

    name = f"PyTorch, {precision}, {'torch.compile' if compiled else 'eager'}"
    return Contender(name, run, workload.timed(run), precision)


def check_same(model: MultiPath, state, twin: torch.nn.Module, windows: np.ndarray, labels: np.ndarray) -> None:
    """Raises SystemExit unless both models give the same logits and loss in training mode, dropout aside."""
    whole = model.clone(axis_name=None)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    outputs, _ = jax.jit(lambda v, x: whole.apply(v, x, train=True, mutable=["batch_stats"]))(variables, windows)
    loss, _ = total_loss(*outputs, jnp.asarray(labels), align_weight=0.7, temperature=0.5)
    twin.train()
    dropout, twin.fusion.dropout.p = twin.fusion.dropout.p, 0.0
    with torch.no_grad():
        theirs = twin(torch.from_numpy(windows.transpose(0, 2, 1).copy()))
        their_loss = pytorch_model.total_loss(theirs, torch.from_numpy(labels.astype(np.int64)))
    twin.fusion.dropout.p = dropout
    differences = [np.abs(np.asarray(outputs.fusion) - theirs[0].numpy()).max(), abs(float(loss) - float(their_loss))]
    if max(differences) > TOLERANCE:
        raise SystemExit(f"the two models differ: logits by {differences[0]:.2g}, loss by {differences[1]:.2g}")


def report(asked: argparse.Namespace, contenders: list[Contender], seconds: dict[str, list[float]], steps: int) -> None:
    """Prints the table; ratios are to PyTorch eager in float32, round by round."""
    print(
        f"Training steps, batch {asked.batch}, t = {asked.time}, {asked.channels[0]}+{asked.channels[1]} channels, "
        f"width {asked.width}, {asked.rounds} alternating rounds of {steps} steps:\n"
    )
    print("| | ms a step, median (min - max) | windows/s | times PyTorch eager (min - max) | first call, s |")
    print("|---|---|---|---|---|")
    reference = seconds["PyTorch, float32, eager"]
    for contender in contenders:
        taken = [1e3 / steps * value for value in seconds[contender.name]]
        ratios = [b / a for a, b in zip(seconds[contender.name], reference, strict=True)]
        print(
            f"| {contender.name} | {workload.spread(taken)} | {1e3 * asked.batch / statistics.median(taken):.0f} | "
            f"{workload.spread(ratios, 2)} | {contender.first_call:.1f} |"
        )
    print()
    _, forward = model_size(network(asked), asked.time, sum(asked.channels))
    needed = 3 * forward * asked.batch
    print(f"A step is {needed / 1e9:.1f} GFLOP, the forward pass three times.")
    rates = {contender.precision: product_rate(contender.precision) for contender in contenders}
    moving = copy_rate()
    for contender in contenders:
        middle = statistics.median(seconds[contender.name]) / steps
        share = needed / middle / rates[contender.precision]
        moved = f", {contender.bytes / 1e9:.2f} GB, {contender.bytes / middle / moving:.0%} of its copying rate"
        print(
            f"{contender.name}: {needed / middle / 1e9:.0f} GFLOP/s, {share:.0%} of what a large product of JAX's "
            f"reaches here ({rates[contender.precision] / 1e9:.0f}){moved if contender.bytes else ''}"
        )
    print(f"\n{jax.devices()[0].device_kind}{peak_memory()}; {machine.describe('jax', 'torch')}")


def product_rate(precision: str, size: int = 4096) -> float:
    """Most floating-point operations per second of a square matrix product in a precision, out of five."""
    dtype, products = PRECISIONS[precision]
    a = jnp.ones((size, size), dtype)
    product = jax.jit(lambda a: jax.lax.dot(a, a, precision=products))
    return 2 * size**3 / best_of_five(lambda: product(a).block_until_ready())


def copy_rate(size: int = 1 << 26) -> float:
    """Most bytes per second, read and written, of a copy too large for any cache, out of five."""
    x = jnp.ones(size, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / best_of_five(lambda: copy(x).block_until_ready())


def best_of_five(run: Callable[[], None]) -> float:
    """Seconds of the fastest call after a first one."""
    run()
    return min(workload.timed(run) for _ in range(5))


def peak_memory() -> str:
    """Most memory that each of the two has held on a GPU, all of their contenders together; nothing on CPU."""
    if jax.devices()[0].platform != "gpu":
        return ""
    ours = jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    return f"; peak memory {ours / 2**20:.0f} MiB, PyTorch {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"


if __name__ == "__main__":
    main()
