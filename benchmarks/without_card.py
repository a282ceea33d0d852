"""Compiles the training step for an NVIDIA H100 on a machine without one, and counts the kernels of a step.

    PYTHONPATH=. python benchmarks/without_card.py [--width 64] [--shallow] [--seeds 1] [--precision tf32] [--constants]
        [--flags xla_gpu_...=...] [--save FILE]

Needs JAX with a CUDA plugin (`pip install -e '.[cuda13]'`) and no card: XLA compiles for the description of the card
below, without autotuning. The counts are those of one step of the loop over 32 steps that a dispatch takes, of the
full model on 6 + 3 channels, windows of 128 samples and batches of 128; `--constants` has the hyperparameters as
constants in the program, `--save` keeps its text.
"""

import argparse
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import traces

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
BATCH, TIME, CHANNELS, CLASSES, SAMPLES, STEPS = 128, 128, (6, 3), 6, 20_000, 32
# Instructions for which no kernel is launched.
FREE = (
    *("parameter", "get-tuple-element", "tuple", "bitcast", "constant", "while", "call", "conditional"),
    *("after-all", "opt-barrier", "partition-id"),
)


class Instruction(NamedTuple):
    """An instruction of an optimised program: its name, operation and the rest of its line."""

    name: str
    operation: str
    rest: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--shallow", action="store_true", help="one block a ResNet stage, two layers a dense block")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", default="tf32", choices=("float32", "tf32", "bfloat16"))
    parser.add_argument("--constants", action="store_true")
    parser.add_argument("--flags", nargs="*", default=[])
    parser.add_argument("--save", type=Path)
    asked = parser.parse_args()
    # Or the plugin looks for a driver.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    jax.config.update("jax_platforms", "cpu")
    began = time.perf_counter()
    lowered = lower(asked)
    traced = time.perf_counter()
    options = {"xla_gpu_autotune_level": "0"} | dict(
        flag.split("=") for flag in asked.flags
    )  # there is nothing to time
    text = lowered.compile(compiler_options=options).as_text()
    if asked.save:
        asked.save.write_text(text)
    found = kernels_of_a_step(text)
    print(f"traced in {traced - began:.0f} s, compiled in {time.perf_counter() - traced:.0f} s")
    print(f"{len(found)} kernels a step: " + ", ".join(f"{kind} {count}" for kind, count in by_kind(found).items()))


def card() -> Any:
    """Returns the description of an H100 as the devices for which JAX compiles.

    Raises:
      RuntimeError: JAX has no CUDA plugin.
    """
    from jax._src import xla_bridge
    from jax.experimental import topologies

    canonical = xla_bridge.canonicalize_platform

    def allow_cuda(platform: str) -> str:
        """Lets JAX lower for CUDA though it finds no card."""
        try:
            return canonical(platform)
        except RuntimeError:
            return "cuda"

    xla_bridge.canonicalize_platform = allow_cuda
    return topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")


def lower(asked: argparse.Namespace) -> Any:
    """Lowers the training step of the default config for an H100."""
    import jax.numpy as jnp

    from configs import default
    from dcdp_jax.config import PRECISIONS
    from dcdp_jax.models.multipath import BranchSpec
    from dcdp_jax.train import build
    from dcdp_jax.train.devices import AXIS
    from dcdp_jax.train.hyperparameters import hyperparameters, with_hyperparameters
    from dcdp_jax.train.state import state_shapes
    from dcdp_jax.train.step import Signals, StepParts, train_seeds, train_steps

    config = default.get_config()
    config.data.name = "uci_har"
    config.model.width = asked.width
    if asked.shallow:
        config.model.update({"resnet_blocks": (1, 1, 1, 1), "densenet_blocks": (2, 2, 2, 2)})
    first, c = CHANNELS[0], sum(CHANNELS)
    branches = (
        BranchSpec("res", "resnet", tuple(range(first))),
        BranchSpec("dense", "densenet", tuple(range(first, c))),
    )
    data = SimpleNamespace(window=TIME, channels=())

    def parts(numbers: Any) -> StepParts:
        given = with_hyperparameters(config, numbers)
        return StepParts(
            build.build_model(given, branches, CLASSES),
            build.build_chain(given, branches, STEPS),
            build.build_settings(given, data, STEPS),
        )

    dtype, products = PRECISIONS[asked.precision]
    take = train_steps if asked.seeds == 1 else train_seeds
    lanes, lane = ((), ()) if asked.seeds == 1 else ((asked.seeds,), (None,))

    def shape(of: Sequence[int], kind: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(tuple(of), kind)

    built = parts({})
    state = state_shapes(built.model, built.optimizer, TIME, c)
    numbers = {} if asked.constants else {name: shape(()) for name in hyperparameters(config)}
    state, numbers = jax.tree.map(lambda x: shape((*lanes, *x.shape), x.dtype), (state, numbers))
    signals = Signals(shape((SAMPLES, c)), shape((c,)), shape((c,)))
    batches = {name: shape((BATCH, *lanes, STEPS), jnp.int32) for name in ("starts", "labels")}
    batches["count"] = shape((BATCH,), jnp.int32)
    if lane:
        batches["active"] = shape((BATCH, *lanes), jnp.bool_)

    def mapped(*arguments: Any) -> Any:
        with jax.default_matmul_precision(products):
            return take(*arguments, parts=parts, axis_name=AXIS, dtype=jnp.dtype(dtype))

    from jax.experimental import topologies

    mesh = topologies.make_mesh(card(), (1,), (AXIS,))
    whole, divided = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(AXIS)
    specs = (whole, whole, divided, whole)
    step = jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=whole, check_vma=False)

    def placed(tree: Any, spec: Any) -> Any:
        sharding = jax.sharding.NamedSharding(mesh, spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)

    arguments = [placed(tree, spec) for tree, spec in zip((state, signals, batches, numbers), specs, strict=True)]
    return jax.jit(step, donate_argnums=0).lower(*arguments)


def computations(text: str) -> dict[str, list[Instruction]]:
    """Returns {computation: its instructions} of an optimised program's text; the entry is `ENTRY`."""
    found: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%([\w.\-]+) \(.*\{$", line):
            current = found["ENTRY" if head[1] else head[2]] = []
        elif instruction := re.match(r"\s+(?:ROOT )?%([\w.\-]+) = (.*)$", line):
            operation = re.search(r"(?:^|[\s)}\]])([a-z][a-z0-9\-]*)\(", instruction[2])
            current.append(Instruction(instruction[1], operation[1] if operation else "", instruction[2]))
    return found


def kernels_of_a_step(text: str) -> list[Instruction]:
    """Returns the kernels of the body of a program's longest loop, or of a program without a loop."""
    found = computations(text)
    bodies = [
        re.search(r"body=%([\w.\-]+)", instruction.rest)[1]
        for instructions in found.values()
        for instruction in instructions
        if instruction.operation == "while"
    ]
    return list(launched(found, max(bodies, key=lambda body: len(found[body]), default="ENTRY")))


def launched(found: dict[str, list[Instruction]], name: str) -> Iterator[Instruction]:
    """Yields the instructions of a computation, and of those that it calls, for which kernels are launched."""
    for instruction in found[name]:
        if instruction.operation in ("call", "while"):
            for called in re.findall(r"(?:to_apply|body|calls)=%([\w.\-]+)", instruction.rest):
                yield from launched(found, called)
        elif instruction.operation not in FREE:
            yield instruction


def by_kind(found: Sequence[Instruction]) -> dict[str, int]:
    """Returns the number of kernels of each of `traces.KINDS`."""
    op_names = [re.search(r'op_name="([^"]*)"', one.rest) for one in found]
    counts = Counter(
        traces.kind_of(one.name, name[1] if name else "") for one, name in zip(found, op_names, strict=True)
    )
    return {kind: counts[kind] for kind in traces.KINDS}


if __name__ == "__main__":
    main()
