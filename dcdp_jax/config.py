"""Checks of a config before any file is read, and the config as plain data."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from ml_collections import ConfigDict

from dcdp_jax.errors import ConfigError
from dcdp_jax.fields import CONDITIONS, FIELDS, STUDY_FIELDS, make_config
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.classical import CLASSICAL
from dcdp_jax.models.multipath import BACKBONES
from dcdp_jax.optim import METHODS
from dcdp_jax.values import check_values, flatten

STRATEGIES = ("pmap", "jit")
# Dtype of the activations, and the precision of float32 matrix products.
PRECISIONS = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", "tensorfloat32"),
    "bfloat16": ("bfloat16", "default"),
}
AUTO = "auto"
MAX_SYNTHETIC_SAMPLES = 10**8  # samples of one person
MAIN_MODEL = "dcdp_har"
MODELS = (MAIN_MODEL, *BASELINES, *CLASSICAL)
# Fields in which a run and its resumption may differ.
LOCATIONS = tuple(field.name for field in FIELDS if not field.affects_result)
BALANCED = "balanced"
BEST, LAST, EMA = "best", "last", "ema"
TRAIN, HELDOUT = "train", "heldout"
# Type and example of the items of a study's fields.
STUDY_ITEMS = {
    "compare": (tuple[str, str], "('row', 'reference row')"),
    "oracles": (tuple[str, Annotated[list[str], msgspec.Meta(min_length=1)]], "('row', ('branch alone', ...))"),
    "paper": (tuple[str, str, str, float], "('row', 'data set', 'accuracy', 97.79)"),
}
# Names that a branch must not have: keys of the network's parameters and of the records of losses and norms, the one
# that Flax keeps for itself, and those by which `optim.inspect` finds parts of an optimiser's state.
RESERVED_NAMES = (
    "projection",
    "fusion",
    "total",
    "contrast",
    "align",
    "params",
    "coefficients",
    "statistics",
    "rng_key",
)


def check_config(config: ConfigDict) -> None:
    """Checks every value of a run's config that can be judged without data or devices.

    Raises ConfigError, which names the field, what came and what was expected.
    """
    values = dict(flatten(config.to_dict()))
    check_values(values, FIELDS)
    if len(values["model.resnet_blocks"]) != len(values["model.densenet_blocks"]) or not values["model.resnet_blocks"]:
        raise ConfigError(
            "model.resnet_blocks and model.densenet_blocks must have the same number of stages, one or more"
        )
    for field in ("model.width", "model.densenet_width"):
        if values[field] % 2:
            raise ConfigError(f"{field}={values[field]} must be even: DenseNet's growth is half of it")
    segments, window = values["augment.permutation_segments"], values["data.window"]
    if values["augment.enabled"] and window < max(segments, 2):
        raise ConfigError(f"augment.permutation_segments={segments} do not fit into data.window={window}")
    minutes, rate = values["data.synthetic.minutes"], values["data.synthetic.rate"]
    if values["data.name"] == "synthetic" and not 2 <= minutes * 60 * rate <= MAX_SYNTHETIC_SAMPLES:
        raise ConfigError(
            f"data.synthetic.minutes={minutes} at data.synthetic.rate={rate} Hz make {minutes * 60 * rate:g} samples a "
            f"person, expected 2 to {MAX_SYNTHETIC_SAMPLES:g}"
        )
    if values["data.name"] == "table":
        # Imports pandas, which the other data sets do not need.
        from dcdp_jax.data.table_fields import check_fields

        check_fields(config.data.table)
    rule = values["data.label_rule"]
    if values["data.train_starts"] != "fixed" and rule != "mode":
        raise ConfigError(
            f"data.train_starts={values['data.train_starts']!r} moves windows within the samples of one label, and "
            f"those of data.label_rule={rule!r} may have several; set --config.data.label_rule=mode"
        )
    axes = values["augment.mirror_axes"]
    if not fits(axes, list[tuple[Any, Literal["x", "y", "z"]]]) or len({str(site) for site, _ in axes}) < len(axes):
        raise ConfigError(f"augment.mirror_axes={axes!r} must look like (('waist', 'y'), ('wrist', 'x')), a site once")
    check_class_weights(values["train.class_weights"])
    if tuple(values["train.class_weights"]) == (BALANCED,) and values["train.sampling"] == BALANCED:
        raise ConfigError(
            f"train.class_weights=({BALANCED!r},) and train.sampling={BALANCED!r} both balance the classes; choose one"
        )
    if values["data.validation"] == "none" and values["train.selection"] == BEST and is_network(values["model.name"]):
        raise ConfigError(
            f"train.selection={BEST!r} chooses an epoch by the validation set, and data.validation='none' leaves "
            "none; set --config.train.selection=last or ema"
        )
    if values["data.left_out_class"] and not is_network(values["model.name"]):
        raise ConfigError(f"data.left_out_class needs a network, and model.name={values['model.name']} is none")
    check_branches(values["model.branches"])
    trained = trained_branches(values)
    blocks = len(values["model.densenet_blocks"])
    dense = values["model.name"] == MAIN_MODEL and any(backbone == "densenet" for _, backbone, _ in trained)
    if dense and window < 2 ** (blocks - 1):
        raise ConfigError(
            f"data.window={window} is too short for the {blocks} blocks of model.densenet_blocks, each with half the "
            f"samples of the one before; expected {2 ** (blocks - 1)} or more"
        )
    if values["model.modality_dropout"] and len(trained) < 2 and values["model.name"] == MAIN_MODEL:
        raise ConfigError(
            f"model.modality_dropout={values['model.modality_dropout']} replaces one of several branches, and there is "
            "one; set --config.model.modality_dropout=0.0"
        )
    if values["train.diagnosis_batches"] and values["model.name"] != MAIN_MODEL:
        raise ConfigError(
            f"train.diagnosis_batches={values['train.diagnosis_batches']} compares gradients of branches, and "
            f"model.name={values['model.name']} has none; set --config.train.diagnosis_batches=0"
        )
    check_modulation(values, method_that_acts(config))
    check_processes(values)


def unread_notes(config: ConfigDict) -> list[str]:
    """Returns a note for each field that is not at its default, but is not read with this config."""
    values, defaults = dict(flatten(config.to_dict())), {field.name: field.default for field in FIELDS}
    reasons: dict[str, str] = {}
    for names, other, read, among in CONDITIONS:
        if (values[other] in among) != read:
            reasons |= {name: f"{other}={values[other]!r}" for name in names.split() if name not in reasons}
    return [
        f"{name}={values[name]!r} is not used with {reason}"
        for name, reason in reasons.items()
        if values[name] != defaults[name]
    ]


def check_study(config: ConfigDict) -> None:
    """Raises ConfigError where a study's own fields cannot be used; those of its runs are checked with the runs."""
    study = config.study
    check_values(dict(flatten({"study": study.to_dict()})), STUDY_FIELDS)
    for name, (shape, example) in STUDY_ITEMS.items():
        if wrong := [item for item in study[name] if not fits(item, shape)]:
            raise ConfigError(f"study.{name}: {wrong[0]!r} must look like {example}")
    for name in ("compare", "oracles"):
        named = [row for row, _ in study[name]]
        if twice := [row for row in named if named.count(row) > 1]:
            raise ConfigError(f"study.{name}: the row {twice[0]!r} is named twice, expected one reference for each row")
    if twice := [row for row, rows in study.oracles if len(set(rows)) < len(rows)]:
        raise ConfigError(
            f"study.oracles: the oracle of {twice[0]!r} names a row twice, and would multiply it by itself"
        )
    if itself := [row for row, reference in study.compare if row == reference]:
        raise ConfigError(f"study.compare: the row {itself[0]!r} is compared with itself")
    seeds = ("quick.seeds", config.quick.seeds) if study.quick else ("study.seeds", study.seeds)
    for name, values in (seeds, ("study.folds", study.folds)):
        if len(set(values)) < len(values):
            raise ConfigError(f"{name}={tuple(values)}: expected every number once")
    if not seeds[1]:
        raise ConfigError(f"{seeds[0]}=() leaves no trial, expected one seed or more, as (0, 1, 2)")
    if 0 < study.inner_folds < 3:
        raise ConfigError(f"study.inner_folds={study.inner_folds} must be 0, or 3 or more")
    if study.devices_divide == "seeds" and study.seeds_at_once == 1:
        raise ConfigError("study.devices_divide='seeds' needs study.seeds_at_once above 1")


def is_network(model: str) -> bool:
    """Returns whether a model is a network trained by gradient steps.

    Only a network leaves checkpoints and a model card, so that it can be evaluated again, exported and used, and only
    seeds of a network can be trained together.
    """
    return model not in CLASSICAL


def fits(value: Any, shape: Any) -> bool:
    """Returns whether a value has the shape of a type; a list counts as a tuple."""
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return False
    return True


def check_branches(branches: Any) -> None:
    """Raises ConfigError unless branches are (name, backbone, (channels or groups, ...)) with different names."""
    if not branches or not fits(branches, list[tuple[str, Any, list[Any]]]):
        example = "(('res', 'resnet', ('acc',)), ('dense', 'densenet', ('gyro',)))"
        raise ConfigError(f"model.branches={branches!r} must look like {example}")
    names = [branch[0] for branch in branches]
    for name, backbone, _ in branches:
        if backbone not in BACKBONES:
            raise ConfigError(f"model.branches: backbone {backbone!r} of {name!r} is not one of {', '.join(BACKBONES)}")
        if names.count(name) > 1 or name in RESERVED_NAMES or not name.isidentifier():
            raise ConfigError(f"model.branches: the name {name!r} is used twice, reserved or not an identifier")


def trained_branches(values: Mapping[str, Any]) -> Sequence[Any]:
    """Returns those of `model.branches` that a run trains: with the partition `single` only the first."""
    return values["model.branches"][: 1 if values["model.partition"] == "single" else None]


def check_class_weights(weights: Sequence[Any]) -> None:
    """Raises ConfigError unless class weights are (), ("balanced",) or (class, weight above 0) of different classes."""
    if tuple(weights) in ((), (BALANCED,)):
        return
    if not fits(weights, list[tuple[str, float]]):
        raise ConfigError(
            f"train.class_weights={weights!r} must be (), ({BALANCED!r},) or look like (('walking', 2.0), "
            "('sitting', 0.5))"
        )
    names = [name for name, _ in weights]
    for name, weight in weights:
        if weight <= 0:
            raise ConfigError(f"train.class_weights: the weight {weight:g} of {name!r} is not above 0")
        if names.count(name) > 1:
            raise ConfigError(f"train.class_weights: the class {name!r} is named twice")


def method_that_acts(config: ConfigDict) -> str:
    """Returns the method of modulation that acts in a run, or `none`; `cgm.enabled` is read for the name `cgm` only."""
    return "none" if config.modulation.name == "cgm" and not config.cgm.enabled else config.modulation.name


def check_modulation(values: Mapping[str, Any], method: str) -> None:
    """Raises ConfigError if the method that acts is undefined, has one branch only or has no epoch to act in."""
    if method == "none":
        return
    section = "cgm" if method == "cgm" else "modulation"
    acts, off = f"modulation.name={method}", "modulation.name=none"
    in_backward_pass = method == "cgm" and values["cgm.scope"] == "classification"
    if method == "cgm":
        acts, off = "cgm.enabled=True", "cgm.enabled=False"
    if in_backward_pass and values["cgm.placement"] != "before":
        raise ConfigError("cgm.scope=classification acts inside the backward pass and has only cgm.placement=before")
    if values["model.name"] != MAIN_MODEL:
        raise ConfigError(
            f"{acts} compares branches, and model.name={values['model.name']} has none; set --config.{off}"
        )
    if len(trained_branches(values)) < 2:
        raise ConfigError(f"{acts} compares branches, and there is one; set --config.{off}")
    start, end, epochs = values[f"{section}.start_epoch"], values[f"{section}.end_epoch"], values["train.epochs"]
    if start >= min(end or epochs, epochs):
        raise ConfigError(
            f"{section}.start_epoch={start}, {section}.end_epoch={end} and train.epochs={epochs} leave no epoch that "
            "is modulated; modulation starts after start_epoch epochs, and end_epoch is the last one (0: the last of "
            "all)"
        )
    if values[f"{section}.placement"] not in METHODS[method].placements:
        allowed = ", ".join(METHODS[method].placements)
        raise ConfigError(f"{section}.placement={values[f'{section}.placement']!r}: {method} has only {allowed}")
    confidence = f"modulation.confidence={values['modulation.confidence']!r}"
    if values["modulation.confidence"] != TRAIN:
        if "unimodal" in METHODS[method].keywords:
            raise ConfigError(f"{confidence}: {method} reads gradients and no confidence; set it to {TRAIN!r}")
        if in_backward_pass:
            raise ConfigError(f"{confidence}: cgm.scope='classification' reads the training batch; set it to {TRAIN!r}")
    if values["modulation.confidence"] == HELDOUT and values["data.stream"]:
        raise ConfigError(f"{confidence} reads windows beside those of the batch; set --config.data.stream=False")
    one_gradient = f"train.sam_rho={values['train.sam_rho']:g} takes one gradient of the total loss, and"
    if values["train.sam_rho"] and "unimodal" in METHODS[method].keywords:
        raise ConfigError(f"{one_gradient} {method} needs those of two of its parts; set --config.train.sam_rho=0")
    if values["train.sam_rho"] and in_backward_pass:
        raise ConfigError(
            f"{one_gradient} cgm.scope=classification changes it inside the backward pass; set --config.train.sam_rho=0"
        )
    if not METHODS[method].optional and (start or end):
        raise ConfigError(f"modulation.start_epoch and end_epoch must be 0: {method} acts in every epoch or in none")


def check_processes(values: Mapping[str, Any]) -> None:
    """Raises ConfigError unless all fields that name the processes of a run are given, or none of them."""
    distributed, coordinator = values["parallel.distributed"], values["parallel.coordinator"]
    processes, process = values["parallel.processes"], values["parallel.process_id"]
    if (coordinator or processes or process) and not distributed:
        raise ConfigError("parallel.coordinator, processes and process_id are read with parallel.distributed=True only")
    if bool(coordinator) != bool(processes):
        raise ConfigError(
            f"parallel.coordinator={coordinator!r} and parallel.processes={processes}: give both, or none where Slurm, "
            "Open MPI or Kubernetes say it"
        )
    host, _, port = coordinator.rpartition(":")
    if coordinator and not (host and port.isdecimal() and int(port) < 2**16):
        raise ConfigError(f"parallel.coordinator={coordinator!r} must be HOST:PORT")
    if process >= max(processes, 1):
        raise ConfigError(f"parallel.process_id={process} is not below parallel.processes={processes}")


def as_plain_data(config: ConfigDict) -> dict[str, Any]:
    """Returns the config as it is read back from JSON: nested dictionaries with lists, numbers and strings."""
    return json.loads(config.to_json())


def with_defaults(stored: Mapping[str, Any]) -> ConfigDict:
    """Returns the stored config of a run, with defaults for the fields that were added after the run.

    Raises KeyError if it lacks a section that every run has.
    """
    for section in ("data", "model", "optimizer", "train"):
        stored[section]
    config = make_config(FIELDS)
    with config.ignore_type(), config.unlocked():
        config.update(stored)
    return config


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Returns a line 'field: stored -> asked' for every field that affects results and differs.

    Fields of `data.table` are compared only if one of the two configs reads tables. A config that lacks a field,
    because it is older than the field, is read as if it had its default.
    """
    defaults = {field.name: json.loads(json.dumps(field.default)) for field in FIELDS}
    a, b = defaults | dict(flatten(stored)), defaults | dict(flatten(asked))
    tables = "table" in (a["data.name"], b["data.name"])
    return [
        f"{field}: {a.get(field, '(absent)')!r} -> {b.get(field, '(absent)')!r}"
        for field in sorted(a.keys() | b.keys())
        if field not in LOCATIONS and (tables or not field.startswith("data.table.")) and a.get(field) != b.get(field)
    ]
