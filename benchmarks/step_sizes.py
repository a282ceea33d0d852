"""Time of a training step against batch, window length, channels and depth, beside PyTorch: one varies at a time.

    python benchmarks/step_sizes.py [--rounds 5] [--width 64] [--precision float32] [--steps-per-dispatch 1]

What is varied is 64 windows of 128 samples with 6+3 channels and the paper's best depth. Needs the extra `benchmark`.
"""

import argparse
import statistics

import jax
import machine
import train_step
import workload

from dcdp_jax.config import PRECISIONS

DEPTHS = {  # of Table 1
    "B1": [(1, 1, 1, 1), (2, 2, 2, 2)],
    "B2": [(2, 2, 2, 2), (3, 3, 4, 3)],
    "B3": [(3, 4, 6, 3), (4, 4, 6, 4)],
    "B4": [(3, 4, 23, 3), (6, 8, 12, 6)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--steps-per-dispatch", type=int, default=1)
    asked = parser.parse_args()
    base = train_step.options().parse_args([])
    base.rounds, base.width = asked.rounds, asked.width
    base.precision, base.steps_per_dispatch = [asked.precision], [asked.steps_per_dispatch]
    print("| | ms a step, median (min - max) | windows/s | PyTorch eager, ms | PyTorch / ours (min - max) |")
    print("|---|---|---|---|---|", flush=True)
    for name, changed in variations():
        print(row(name, argparse.Namespace(**{**vars(base), **changed})), flush=True)
    print(f"\n{jax.devices()[0].device_kind}; {machine.describe('jax', 'torch')}")


def variations():
    """(name, the options that differ)."""
    yield "batch 64, t = 128, 6+3 channels, B3", {}
    for batch in (16, 32, 128, 256):
        yield f"batch {batch}", {"batch": batch}
    for time in (32, 64, 256):
        yield f"t = {time}", {"time": time}
    for channels in ((3, 3), (27, 9), (63, 50)):
        yield f"{channels[0]}+{channels[1]} channels", {"channels": channels}
    for depth in ("B1", "B2", "B4"):
        resnet, densenet = DEPTHS[depth]
        yield f"depth {depth}", {"resnet_blocks": resnet, "densenet_blocks": densenet}


def row(name: str, asked: argparse.Namespace) -> str:
    """A line of the table."""
    contenders, seconds, steps = train_step.measure(asked)
    ours, reference = seconds[contenders[0].name], seconds["PyTorch, float32, eager"]
    taken = [1e3 / steps * value for value in ours]
    ratios = [b / a for a, b in zip(ours, reference, strict=True)]
    return (
        f"| {name} | {workload.spread(taken)} | {1e3 * asked.batch / statistics.median(taken):.0f} | "
        f"{1e3 / steps * statistics.median(reference):.1f} | {workload.spread(ratios, 2)} |"
    )


if __name__ == "__main__":
    main()
