"""Checks that the steps of all models lower for every platform, and agree with one CPU device on the devices here."""

from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.config import MAIN_MODEL, STRATEGIES, check_config
from dcdp_jax.data.dataset import Dataset, build_dataset
from dcdp_jax.errors import ConfigError
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.runs.checkpoints import first_line
from dcdp_jax.runs.files import markdown_table
from dcdp_jax.train.build import build_branches, build_chain, build_model, build_settings, heldout_part
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.evaluation import evaluation_step
from dcdp_jax.train.state import TrainState, create_state
from dcdp_jax.train.step import HeldOut, Signals, train_step

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
DEVICE_COUNTS = (1, 2, 7, 8)
BATCH, STEPS = 56, 3
COMPARED = ("train", "evaluation", "prediction")
# Differences by TF32 or bfloat16 products are smaller; those by a wrong gradient, or by statistics of a part of the
# batch, are larger.
TOLERANCE = 1e-2

NOTES = """\
Everything is float32 here, products of matrices and convolutions too. Training takes `train.precision`: `auto` is
`tf32` on CUDA cards from Ampere on, and float32 elsewhere; `bfloat16` is faster there and on TPU.

V100 (compute capability 7.0): install the extra `v100`, which keeps cuDNN below 9.11, the first version without it;
CUDA 12, never 13; driver 525 or newer. There is no TF32 and no bfloat16 in hardware, so that `auto` is float32.
"""


class Comparison(NamedTuple):
    """Differences between what a model computes here and on one CPU device."""

    model: str  # its name
    strategy: str  # of `parallel.strategy`
    devices: int  # how many
    # the largest of each of `COMPARED`: training losses, evaluation loss, class probabilities
    differences: dict[str, float]
    error: str | None  # the error that left no differences to measure, or None

    @property
    def good(self) -> bool:
        """Returns whether all differences are within `TOLERANCE`; NaN is not."""
        return self.error is None and all(value <= TOLERANCE for value in self.differences.values())


class Findings(NamedTuple):
    """Outcome of the check."""

    lowerings: dict[tuple[str, str, str], str | None]  # {(model, step, platform): error}, None where it lowers
    comparisons: list[Comparison]
    left_out: dict[str, str]  # {model: why it cannot be built from this config}

    @property
    def good(self) -> bool:
        """Returns whether every step lowers for every platform, and every comparison is good."""
        return not any(self.lowerings.values()) and all(found.good for found in self.comparisons)


def check_portability(config: ConfigDict) -> Findings:
    """Lowers every model for every platform, and runs it on the devices that are here.

    The model of the config's branches runs with every strategy and on 1, 2, 7 and 8 devices where there are as many; a
    baseline with the config's strategy on one.
    """
    check_config(config)
    dataset = build_dataset(config.data)
    findings = Findings({}, [], {})
    here = jax.local_device_count()
    for name in (MAIN_MODEL, *BASELINES):
        variant = config.copy_and_resolve_references()
        variant.model.name = name
        if name != MAIN_MODEL:  # has no branches to modulate
            variant.modulation.name = "none"
        try:
            findings.lowerings.update(lower_everywhere(variant, dataset))
        except ConfigError as error:
            findings.left_out[name] = str(error)
            continue
        reference = run_steps(variant, dataset, Devices(1, "jit", "cpu"), None)
        every = [(strategy, count) for strategy in STRATEGIES for count in DEVICE_COUNTS if count <= here]
        for strategy, count in every if name == MAIN_MODEL else [(config.parallel.strategy, 1)]:
            findings.comparisons.append(compare(variant, dataset, strategy, count, reference))
    return findings


def build_steps(config: ConfigDict, dataset: Dataset, devices: Devices) -> tuple[dict[str, Any], TrainState]:
    """Returns {name: compiled step (state, signals, batch)} of a config's model for devices, and its initial state."""
    branches = build_branches(config, dataset)
    model = build_model(config, branches, len(dataset.class_names))
    optimizer = build_chain(config, branches, STEPS)
    settings = build_settings(config, dataset, STEPS)
    step = devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=settings)
    evaluation = devices.map_step(evaluation_step, donate_state=False, model=model, window=dataset.window)
    steps = {"train": step, "evaluation": evaluation}
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return steps, create_state(model, optimizer, config.seed, dataset.window, len(dataset.channels))


def batches(dataset: Dataset) -> list[dict[str, np.ndarray]]:
    """Returns batches of training windows, repeated where there are too few."""
    split = dataset.splits["train"]
    rows = np.resize(np.arange(len(split.labels)), (STEPS, BATCH))
    return [{"starts": split.starts[chosen], "labels": split.labels[chosen]} for chosen in rows]


def signals_of(config: ConfigDict, dataset: Dataset) -> Signals:
    """Returns the recordings, their normaliser, and the held-out windows that the config's steps read."""
    part = heldout_part(config, dataset)
    held = HeldOut(part.starts, part.labels) if part else None
    return Signals(dataset.signals, *dataset.normalizer, held)


def lower_everywhere(config: ConfigDict, dataset: Dataset) -> dict[tuple[str, str, str], str | None]:
    """Lowers the steps of one model for every platform, without needing its devices; returns `Findings.lowerings`."""
    devices = Devices(max(n for n in DEVICE_COUNTS if n <= len(jax.local_devices(backend="cpu"))), "jit", "cpu")
    steps, state = build_steps(config, dataset, devices)
    batch = batches(dataset)[0]
    found: dict[tuple[str, str, str], str | None] = {}
    for name, step in steps.items():
        given = batch | {"mask": np.ones(BATCH, bool)} if name == "evaluation" else batch
        arguments = (devices.replicate(state), devices.replicate(signals_of(config, dataset)), devices.shard(given))
        for platform in PLATFORMS:
            key = config.model.name, name, platform
            try:
                step.trace(*arguments).lower(lowering_platforms=(platform,))
                found[key] = None
            except Exception as error:  # operations raise different errors on a platform that lacks them
                found[key] = f"{type(error).__name__}: {first_line(error)}"
    return found


def run_steps(
    config: ConfigDict, dataset: Dataset, devices: Devices, trained: TrainState | None
) -> tuple[dict[str, np.ndarray], TrainState]:
    """Trains the config's model for a few steps, and evaluates `trained`, or with None the state after these steps.

    Returns {name of `COMPARED`: losses or probabilities}, and the evaluated state.
    """
    steps, initial = build_steps(config, dataset, devices)
    signals, state = devices.replicate(signals_of(config, dataset)), devices.replicate(initial)
    losses = []
    for batch in batches(dataset):
        state, metrics = steps["train"](state, signals, devices.shard(batch))
        losses.append(metrics["loss"]["total"])
    trained = jax.device_get(state) if trained is None else trained
    state = devices.replicate(trained)
    padded = batch | {"mask": np.ones(BATCH, bool)}
    tally, probabilities, _ = steps["evaluation"](state, signals, devices.shard(padded))
    outcome = {"train": np.array(losses), "evaluation": tally.loss / BATCH, "prediction": probabilities}
    return jax.device_get(outcome), trained


def compare(
    config: ConfigDict,
    dataset: Dataset,
    strategy: str,
    count: int,
    reference: tuple[dict[str, np.ndarray], TrainState],
) -> Comparison:
    """Runs one model on some of the devices that are here, and compares it with the reference."""
    wanted, trained = reference
    try:
        found, _ = run_steps(config, dataset, Devices(count, strategy), trained)
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        message = f"{type(error).__name__}: {first_line(error)}"
        return Comparison(config.model.name, strategy, count, {}, message)
    differences = {step: float(np.abs(found[step] - wanted[step]).max()) for step in wanted}
    return Comparison(config.model.name, strategy, count, differences, None)


def portability_page(findings: Findings) -> str:
    """Formats the findings as tables in Markdown, followed by the failures."""
    device = jax.local_devices()[0]
    here = f"{device.device_kind} ({device.platform})"
    lowered: dict[tuple[str, str], list[str]] = {}
    for (model, step, _), error in findings.lowerings.items():
        lowered.setdefault((model, step), []).append("FAILS" if error else "lowers")
    runs = [
        [
            *(run.model, run.strategy, str(run.devices)),
            *(f"{run.differences[step]:.1e}" if run.differences else "-" for step in COMPARED),
            "good" if run.good else "FAILS",
        ]
        for run in findings.comparisons
    ]
    parts = [
        "# Portability",
        f"jax {jax.__version__}; {jax.local_device_count()} x {here}. "
        f"{'All green.' if findings.good else 'RED: see below.'}",
        markdown_table(["model", "step", *PLATFORMS], [[*key, *cells] for key, cells in lowered.items()]),
        f"Run on {here}; largest difference to one CPU device in the loss of {STEPS} training steps, in the loss of an "
        f"evaluation and in a predicted probability; allowed is {TOLERANCE:g}.",
        markdown_table(["model", "strategy", "devices", *COMPARED, ""], runs),
    ]
    if absent := [str(count) for count in DEVICE_COUNTS if count > jax.local_device_count()]:
        parts.append(f"Not run, for want of devices: {', '.join(absent)}.")
    if findings.left_out:
        parts.append("Left out:\n\n" + "\n".join(f"- {model}: {why}" for model, why in findings.left_out.items()))
    failed = [f"- {', '.join(key)}: {error}" for key, error in findings.lowerings.items() if error]
    failed += [
        f"- {run.model}, {run.strategy}, {run.devices} devices: {run.error or 'difference too large'}"
        for run in findings.comparisons
        if not run.good
    ]
    if failed:
        parts.append("Failed:\n\n" + "\n".join(failed))
    return "\n\n".join([*parts, NOTES])
