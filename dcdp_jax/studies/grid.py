"""Makes the trials of a study from its config."""

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dcdp_jax.config import LOCATIONS, as_plain_data, check_config, fits
from dcdp_jax.errors import ConfigError
from dcdp_jax.fields import FIELDS
from dcdp_jax.runs.files import sha256
from dcdp_jax.values import check_value, check_values, flatten, unknown_field

Fields = Mapping[str, Any]
GIVEN = {"seed": "study.seeds", "data.fold": "study.folds"}  # {field that no row sets: what sets it}


class Row(NamedTuple):
    """One row of a table: its name, and the fields that it sets.

    `NAME:field` is set for the data set NAME only, also if the row sets `field` for all.
    """

    name: str
    fields: Fields


class Stage(NamedTuple):
    """Rows that are compared with each other. The next stage builds on the best."""

    name: str  # in the study
    rows: Sequence[Row]  # with different names
    inner: bool = False  # whether its rows are trained in folds over the training subjects, see `study.inner_folds`


class Trial(NamedTuple):
    """One training run of a study."""

    dataset: str  # name in the study
    row: str  # name in the study
    seed: int  # of the run
    fold: int  # of `data.fold`
    config: ConfigDict  # the whole config of the run
    name: str  # of its folder; ends with a digest of the fields that affect the result


def slug(text: str) -> str:
    """Converts a text to a part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def stages_of(config: ConfigDict) -> list[Stage]:
    """Returns the stages of a study; raises ConfigError unless `study.stages` is as configs/studies/default.py says."""
    if not fits(config.study.stages, list[tuple[str, list[tuple[str, list[tuple[str, Any]]]]]]):
        raise ConfigError("study.stages must be ((stage, ((row, ((field, value), ...)), ...)), ...)")
    stages = [Stage(name, [Row(row, dict(fields)) for row, fields in rows]) for name, rows in config.study.stages]
    for row, fields in (row for _, rows in config.study.stages for row in rows):
        if len(dict(fields)) < len(fields):
            raise ConfigError(f"row {row!r} sets a field twice: {', '.join(name for name, _ in fields)}")
    names = [row.name for stage in stages for row in stage.rows]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"study.stages needs at least one row, and every name once: {', '.join(names)}")
    mentioned = [name for pair in config.study.compare for name in pair] + [config.study.shown or names[0]]
    mentioned += [name for reference, rows in config.study.oracles for name in (reference, *rows)]
    if unknown := [name for name in mentioned if name not in names]:
        raise ConfigError(
            f"study.compare, study.oracles or study.shown: {unknown[0]!r} is not one of the rows {', '.join(names)}"
        )
    if not config.study.inner_folds:
        return stages
    if len(stages) < 2 or config.study.folds:
        raise ConfigError(
            "study.inner_folds chooses the rows of all stages before the last, which reads one test set: it needs two "
            "stages or more, and no study.folds"
        )
    return [stage._replace(inner=True) for stage in stages[:-1]] + stages[-1:]


def overridden(base: Fields, fields: Fields) -> Fields:
    """Returns the fields of a base, followed by those that override them, in which those of one data set come last."""
    kept = {name: value for name, value in base.items() if name not in fields}
    return kept | dict(sorted(fields.items(), key=lambda item: ":" in item[0]))


def check_dataset(name: str, config: Any) -> None:
    """Raises ConfigError unless a data set of a study has a name for its files and the config of a run."""
    if not name or "/" in name:
        raise ConfigError(f"datasets: {name!r} names files of the study's tables, expected a name without a slash")
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"datasets.{name} is a {type(config).__name__}, expected the ConfigDict of a run")
    try:
        check_values(dict(flatten(config.to_dict())), FIELDS)
    except ConfigError as error:
        raise ConfigError(f"datasets.{name}: {error}") from error


def check_rows(rows: Sequence[Row], owners: Collection[str]) -> None:
    """Raises ConfigError for a row that sets a field of a data set not in `owners`, or one that the study sets."""
    for row in rows:
        for name in row.fields:
            owner, colon, field = name.rpartition(":")
            if colon and owner not in owners:
                raise ConfigError(
                    f"row {row.name!r}: {name} is for the data set {owner!r}, expected one of "
                    f"{', '.join(sorted(owners))}"
                )
            if field in GIVEN:
                raise ConfigError(f"row {row.name!r} sets {field}, which {GIVEN[field]} gives; take it out of the row")


def trials_of(config: ConfigDict, stage: Stage, base: Fields) -> list[Trial]:
    """Returns the trials of a stage, one per data set, row, fold and seed; the seeds of a fold follow each other.

    `base` has the fields that earlier stages have chosen; the fields of a row override it. Raises ConfigError if a row
    sets a field that does not exist, or to a value that is not allowed.
    """
    trials = []
    study = config.study
    datasets, seeds = (config.quick.datasets, config.quick.seeds) if study.quick else (config.datasets, study.seeds)
    if not datasets:
        raise ConfigError("datasets is empty, expected {name: config}")
    check_rows(stage.rows, {*config.datasets, *config.quick.datasets})
    places = {f"data.{place}": study[place] for place in ("raw_dir", "cache_dir") if study[place]}
    files: dict[str, str] = {}  # {start of file names: the data set that they belong to}
    for dataset, original in datasets.items():
        check_dataset(dataset, original)
        if (other := files.setdefault(slug(dataset), dataset)) != dataset:
            raise ConfigError(f"datasets: files of {other!r} and {dataset!r} would begin alike; rename one in ASCII")
        folds = range(study.inner_folds) if stage.inner else study.folds or (original.data.fold,)
        for row, fold, seed in itertools.product(stage.rows, folds, seeds):
            given = [(*name.rpartition(":"), value) for name, value in overridden(base, row.fields).items()]
            fields = {field: value for owner, _, field, value in given if owner in ("", dataset)}
            fields |= {"data.fold": fold, "seed": seed} | places
            if study.inner_folds:
                fields["data.validation"] = "none"
            if stage.inner:
                fields["data.within"] = fields.get("data.protocol", original.data.protocol)
                fields |= {"data.protocol": "groups", "data.folds": study.inner_folds}
            try:
                trial = with_fields(original, fields)
                check_config(trial)
            except ConfigError as error:
                raise ConfigError(f"row {row.name!r} on {dataset}: {error}") from error
            computed = [(k, v) for k, v in sorted(flatten(as_plain_data(trial))) if k not in LOCATIONS]
            digest = sha256(json.dumps(computed).encode())[:10]
            name = f"{slug(dataset)}-{slug(row.name)}-fold{fold}-seed{seed}-{digest}"
            trials.append(Trial(dataset, row.name, seed, fold, trial, name))
    return trials


def is_inner(trial: Trial) -> bool:
    """Returns whether a trial is tested on a fold of the training subjects, see `study.inner_folds`."""
    return trial.config.data.within != ""


def with_fields(config: ConfigDict, fields: Fields) -> ConfigDict:
    """Returns a copy of a config with some fields set; raises ConfigError for an unknown field, or a wrong value."""
    copy, known = config.copy_and_resolve_references(), {field.name: field for field in FIELDS}
    for name, value in fields.items():
        if name not in known:
            raise ConfigError(unknown_field(name, list(known)))
        check_value(known[name], value)
        copy.update_from_flattened_dict({name: value})
    return copy
