"""Checks of a config before anything is built, and the config as plain data."""

import json
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from dcdp_jax.data.partition import CONTROLS
from dcdp_jax.errors import ConfigError
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.multipath import BACKBONES
from dcdp_jax.optim.chain import OPTIMIZERS, PLACEMENTS, SCHEDULES

STRATEGIES = ("pmap", "jit")
# Dtype of the activations, and the precision of float32 matrix products. Unasked, JAX takes TF32 on a GPU.
PRECISIONS = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", "tensorfloat32"),
    "bfloat16": ("bfloat16", "default"),
}
MAIN_MODEL = "dcdp_har"
RANDOM_FOREST = "random_forest"
CHOICES: dict[str, tuple[Any, ...]] = {
    "optimizer.name": OPTIMIZERS,
    "optimizer.schedule": SCHEDULES,
    "cgm.scope": ("branch", "classification", "head"),
    "cgm.placement": PLACEMENTS,
    "model.name": (MAIN_MODEL, *BASELINES, RANDOM_FOREST),
    "model.partition": CONTROLS,
    "parallel.strategy": STRATEGIES,
    "train.precision": tuple(PRECISIONS),
}
# Field: lowest and highest value allowed.
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "model.width": (2, 4096),
    "model.densenet_width": (0, 4096),
    "model.embedding": (1, 65536),
    "model.projection_hidden": (1, 65536),
    "model.projection": (1, 65536),
    "model.fusion_hidden": (1, 65536),
    "model.dropout": (0, 0.999),
    "loss.align_weight": (0, float("inf")),
    "loss.temperature": (1e-4, float("inf")),
    "loss.label_smoothing": (0, 0.999),
    "cgm.alpha": (0, float("inf")),
    "cgm.eps": (0, 1),
    "cgm.start_epoch": (0, 10**6),
    "cgm.end_epoch": (0, 10**6),
    "optimizer.learning_rate": (0, float("inf")),
    "optimizer.warmup_fraction": (0, 0.999),
    "optimizer.b1": (0, 0.999999),
    "optimizer.b2": (0, 0.999999),
    "optimizer.eps": (0, 1),
    "optimizer.weight_decay": (0, float("inf")),
    "optimizer.clip_norm": (0, float("inf")),
    "train.epochs": (1, 10**6),
    "train.batch_size": (2, 10**6),
    "train.log_every": (1, 10**9),
    "train.steps_per_dispatch": (0, 10**6),
    "augment.probability": (0, 1),
    "augment.jitter_sigma": (0, 100),
    "augment.scaling_sigma": (0, 100),
    "augment.time_warp_sigma": (0, 100),
    "augment.time_warp_knots": (1, 1000),
    "augment.permutation_segments": (1, 1000),
    "train.skip_nonfinite": (0, 10**9),
    "parallel.devices": (0, 10**6),
    "parallel.processes": (0, 10**6),
    "parallel.process_id": (0, 10**6),
}
UNDEFINED = (("classification", "after"), ("classification", "decoupled"))
# Where things are and what is done about faults, not what is computed: may differ between a run and its resumption.
LOCATIONS = (
    "data.raw_dir",
    "data.cache_dir",
    "data.stream",
    "train.skip_nonfinite",
    "train.steps_per_dispatch",
    "parallel.devices",
    "parallel.distributed",
    "parallel.coordinator",
    "parallel.processes",
    "parallel.process_id",
)
RESERVED_NAMES = ("projection", "fusion", "total", "contrast", "align")


def check_config(config: ConfigDict) -> None:
    """Checks every value that can be judged without data or devices.

    Raises:
      ConfigError: names the field, what came and what was expected.
    """
    values = dict(flatten(config.to_dict()))
    for field, allowed in CHOICES.items():
        if values[field] not in allowed:
            raise ConfigError(f"{field}={values[field]!r} is none of {', '.join(map(str, allowed))}")
    for field, (low, high) in RANGES.items():
        if not low <= values[field] <= high:
            raise ConfigError(f"{field}={values[field]!r} is not between {low:g} and {high:g}")
    for field in ("model.resnet_blocks", "model.densenet_blocks"):
        if not values[field] or any(not isinstance(n, int) or n < 1 for n in values[field]):
            raise ConfigError(f"{field}={values[field]!r} must be positive counts, one per stage")
    if len(values["model.resnet_blocks"]) != len(values["model.densenet_blocks"]):
        raise ConfigError("model.resnet_blocks and model.densenet_blocks must have the same number of stages")
    for field in ("model.width", "model.densenet_width"):
        if values[field] % 2:
            raise ConfigError(f"{field}={values[field]} must be even: DenseNet's growth is half of it")
    segments, window = values["augment.permutation_segments"], values["data.window"]
    if values["augment.enabled"] and window < max(segments, 2):
        raise ConfigError(f"augment.permutation_segments={segments} do not fit into data.window={window}")
    check_branches(values["model.branches"])
    check_processes(values)
    if values["cgm.enabled"] and (values["cgm.scope"], values["cgm.placement"]) in UNDEFINED:
        raise ConfigError("cgm.scope=classification acts inside the backward pass and has only cgm.placement=before")
    one_branch = len(values["model.branches"]) < 2 or values["model.partition"] == "single"
    if values["cgm.enabled"] and values["model.name"] != MAIN_MODEL:
        raise ConfigError(
            f"cgm.enabled=True compares branches, and model.name={values['model.name']} has none; "
            f"set --config.cgm.enabled=False"
        )
    if values["cgm.enabled"] and one_branch:
        raise ConfigError("cgm.enabled=True compares branches, and there is one; set --config.cgm.enabled=False")


def check_branches(branches: Any) -> None:
    """Raises ConfigError unless branches are (name, backbone, (channels or groups, ...)) with different names."""
    example = "(('res', 'resnet', ('acc',)), ('dense', 'densenet', ('gyro',)))"
    shaped = isinstance(branches, tuple | list) and len(branches) > 0
    for branch in branches if shaped else ():
        shaped = shaped and isinstance(branch, tuple | list) and len(branch) == 3
        shaped = shaped and isinstance(branch[0], str) and isinstance(branch[2], tuple | list)
    if not shaped:
        raise ConfigError(f"model.branches={branches!r} must look like {example}")
    names = [branch[0] for branch in branches]
    for name, backbone, _ in branches:
        if backbone not in BACKBONES:
            raise ConfigError(f"model.branches: backbone {backbone!r} of {name!r} is none of {', '.join(BACKBONES)}")
        if names.count(name) > 1 or name in RESERVED_NAMES or not name.isidentifier():
            raise ConfigError(f"model.branches: the name {name!r} is used twice, reserved or not an identifier")


def check_processes(values: dict[str, Any]) -> None:
    """Raises ConfigError unless all that names the processes of a run is given, or nothing of it."""
    distributed, coordinator = values["parallel.distributed"], values["parallel.coordinator"]
    processes, process = values["parallel.processes"], values["parallel.process_id"]
    if (coordinator or processes or process) and not distributed:
        raise ConfigError("parallel.coordinator, processes and process_id are read with parallel.distributed=True only")
    if bool(coordinator) != bool(processes):
        raise ConfigError(
            f"parallel.coordinator={coordinator!r} and parallel.processes={processes}: give both, or none where Slurm, "
            "Open MPI or Kubernetes say it"
        )
    if process >= max(processes, 1):
        raise ConfigError(f"parallel.process_id={process} is not below parallel.processes={processes}")


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{'a': {'b': 1}} -> ('a.b', 1), ..."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def as_plain_data(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON would give it back: dicts, lists, numbers and strings."""
    return json.loads(config.to_json())


def differences(stored: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Fields that differ, 'field: stored -> asked', but for `LOCATIONS` and, where no tables are read, theirs."""
    a, b = dict(flatten(stored)), dict(flatten(asked))
    tables = "table" in (a.get("data.name"), b.get("data.name"))
    return [
        f"{field}: {a.get(field, '(absent)')!r} -> {b.get(field, '(absent)')!r}"
        for field in sorted(a.keys() | b.keys())
        if field not in LOCATIONS and (tables or not field.startswith("data.table.")) and a.get(field) != b.get(field)
    ]
