"""The cost of modulation: a training step with each scope of CGM and each other method against one without.

    python benchmarks/modulation.py [--batch 64] [--time 128] [--channels 6 3] [--classes 6] [--width 64] [--rounds 30]
        [--resnet_blocks 3 4 6 3] [--densenet_blocks 4 4 6 4] [--variants branch mmpareto]

The steps are those of training (AdamW, placement `before`), built from the default config with `cgm.scope` or
`modulation.name` set, and all run in one process. Every round runs each of them once, in an order that rotates by one
each round, so that a machine whose speed drifts favours none; a round's ratio compares steps of that round only. The
step without modulation runs twice: the ratio of the second to the first shows the machine's own variation. Goals: below
1.05 for CGM, 1.1 for the others, and 1.6 for MMPareto, which has two backward passes. `heldout` is CGM with
`modulation.confidence=heldout` at its default: one step in ten has a forward pass more, so its cost is in the mean of
the rounds and not in their median.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import machine
import numpy as np

from configs import default
from dcdp_jax.models.multipath import BranchSpec
from dcdp_jax.optim.methods import NAMES
from dcdp_jax.train.build import build_chain, build_model, build_settings
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import HeldOut, Signals, train_step

SAMPLES = 20_000
STEPS_PER_EPOCH = 100
PLAIN = "none"
AGAIN = "none again"
SCOPES = ("classification", "branch", "head")
HELD_OUT = "heldout"
VARIANTS = (*SCOPES, HELD_OUT, *(name for name in NAMES if name not in ("none", "cgm")))
WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--time", type=int, default=128)
    parser.add_argument("--channels", type=int, nargs=2, default=(6, 3))
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--resnet_blocks", type=int, nargs="+", default=(3, 4, 6, 3))
    parser.add_argument("--densenet_blocks", type=int, nargs="+", default=(4, 4, 6, 4))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    asked = parser.parse_args()

    variants = (PLAIN, AGAIN, *asked.variants)
    first, second = asked.channels
    rng = np.random.default_rng(0)
    values = rng.normal(size=(SAMPLES, first + second)).astype(np.float32)
    devices = Devices(1)
    held = HeldOut(
        rng.integers(0, SAMPLES - asked.time, SAMPLES // asked.time).astype(np.int32),
        rng.integers(0, asked.classes, SAMPLES // asked.time).astype(np.int32),
    )
    signals = devices.replicate(Signals(values, np.zeros_like(values[0]), np.ones_like(values[0]), held))
    batch = devices.shard(
        {
            "starts": rng.integers(0, SAMPLES - asked.time, asked.batch).astype(np.int32),
            "labels": rng.integers(0, asked.classes, asked.batch).astype(np.int32),
        }
    )
    steps, states = {}, {}
    for name in variants:
        steps[name], states[name] = build(asked, name, devices)
    steps[AGAIN] = steps[PLAIN]
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_number in range(WARM_UP + asked.rounds):
        turn = round_number % len(variants)
        for name in (*variants[turn:], *variants[:turn]):
            began = time.perf_counter()
            states[name], metrics = steps[name](states[name], signals, batch)
            jax.block_until_ready((states[name], metrics))
            seconds[name].append(time.perf_counter() - began)
            check(name, metrics)
    report(asked, {name: times[WARM_UP:] for name, times in seconds.items()})


def build(asked: argparse.Namespace, name: str, devices: Devices) -> tuple[Callable[..., Any], Any]:
    """The compiled step of a variant, and its state."""
    config = default.get_config()
    config.model.width = asked.width
    config.model.resnet_blocks = tuple(asked.resnet_blocks)
    config.model.densenet_blocks = tuple(asked.densenet_blocks)
    config.modulation.name = PLAIN if name.startswith(PLAIN) else "cgm" if name in (*SCOPES, HELD_OUT) else name
    if name in SCOPES:
        config.cgm.scope = name
    if name == HELD_OUT:
        config.modulation.confidence = HELD_OUT
    first, second = asked.channels
    branches = (
        BranchSpec("res", "resnet", tuple(range(first))),
        BranchSpec("dense", "densenet", tuple(range(first, first + second))),
    )
    model = build_model(config, branches, asked.classes)
    optimizer = build_chain(config, branches, STEPS_PER_EPOCH)
    settings = build_settings(config, SimpleNamespace(window=asked.time, channels=()), STEPS_PER_EPOCH)
    step = devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=settings)
    return step, devices.replicate(create_state(model, optimizer, 0, asked.time, first + second))


def check(name: str, metrics: dict[str, Any]) -> None:
    """Raises SystemExit unless the step reports coefficients where it should, and only there."""
    if ("M" in metrics) == (name.startswith(PLAIN) or name == "mmpareto"):
        raise SystemExit(f"{name}: the step's metrics {'have' if 'M' in metrics else 'lack'} coefficients")


def report(asked: argparse.Namespace, seconds: dict[str, list[float]]) -> None:
    """Prints the table."""
    print(
        f"One training step, batch {asked.batch}, t = {asked.time}, {asked.channels[0]}+{asked.channels[1]} channels, "
        f"width {asked.width}, {asked.rounds} rounds:\n"
    )
    print(
        "| variant | ms, median (min - max) | times none, median of rounds (quartiles) | "
        "of medians | of means | of minima |"
    )
    print("|---|---|---|---|---|---|")
    plain = seconds[PLAIN]
    for name, times in seconds.items():
        low, middle, high = statistics.quantiles([t / p for t, p in zip(times, plain, strict=True)], n=4)
        print(
            f"| {name} | {statistics.median(times) * 1e3:.1f} ({min(times) * 1e3:.1f} - {max(times) * 1e3:.1f}) | "
            f"{middle:.3f} ({low:.3f} - {high:.3f}) | {statistics.median(times) / statistics.median(plain):.3f} | "
            f"{statistics.fmean(times) / statistics.fmean(plain):.3f} | {min(times) / min(plain):.3f} |"
        )
    print(f"\n{machine.describe('jax')}")


if __name__ == "__main__":
    main()
