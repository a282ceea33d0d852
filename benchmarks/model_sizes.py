"""Parameters and FLOPs per window of the main model and all baselines, as a Markdown table.

    python benchmarks/model_sizes.py [--config configs/uci_har.py] [--channels 6 3] [--classes 6]

Window, width, blocks and branches are those of the config; how many channels each branch reads is given. FLOPs are
those of the forward pass in evaluation, a multiplication and an addition counted as two: `sizes.py`.
"""

import argparse
import importlib.util
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import machine

sys.path.insert(0, str(Path(__file__).parents[1]))  # the configs import each other from the repository's root

from ml_collections import ConfigDict
from sizes import model_size

from dcdp_jax.config import MAIN_MODEL
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.multipath import BranchSpec
from dcdp_jax.train.build import build_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/uci_har.py")
    parser.add_argument("--channels", type=int, nargs="+", default=(6, 3))
    parser.add_argument("--classes", type=int, default=6)
    asked = parser.parse_args()
    config = load(asked.config)
    if len(asked.channels) != len(config.model.branches):
        raise SystemExit(f"--channels needs one number for each of the {len(config.model.branches)} branches")
    print(
        f"`{asked.config}`: windows of {config.data.window} samples, {'+'.join(map(str, asked.channels))} channels, "
        f"{asked.classes} classes, width {config.model.width}\n"
    )
    print(sizes_table(config, asked.channels, asked.classes))
    print(f"\n{machine.describe('jax', 'flax')}")


def load(path: str) -> ConfigDict:
    """The config of a file."""
    spec = importlib.util.spec_from_file_location("config_of_sizes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def sizes_table(config: ConfigDict, channels: Sequence[int], classes: int) -> str:
    """Markdown, a row for the main model and for every baseline; channels are those of each branch."""
    ends = list(itertools.accumulate(channels))
    branches = tuple(
        BranchSpec(name, backbone, tuple(range(end - count, end)))
        for (name, backbone, _), count, end in zip(config.model.branches, channels, ends, strict=True)
    )
    config = config.copy_and_resolve_references()
    lines = ["| model | parameters | MFLOPs per window |", "|---|---:|---:|"]
    for config.model.name in (MAIN_MODEL, *BASELINES):
        parameters, flops = model_size(build_model(config, branches, classes), config.data.window, ends[-1])
        lines.append(f"| {config.model.name} | {parameters:,} | {flops / 1e6:,.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
