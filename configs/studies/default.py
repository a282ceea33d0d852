"""The default fields of every study, and functions that make its rows.

A study is a grid of data sets, rows, folds and seeds; each point is a training run. The fields are declared in
`dcdp_jax/fields.py`; `docs/config.md` lists them.
"""

from ml_collections import ConfigDict

from dcdp_jax.configs import demo
from dcdp_jax.errors import ConfigError
from dcdp_jax.fields import STUDY_FIELDS, make_config


def get_config() -> ConfigDict:
    config = make_config(STUDY_FIELDS)
    config.datasets = ConfigDict()  # {name: config}

    config.quick = ConfigDict()  # replaces seeds and data sets with study.quick=True
    config.quick.seeds = (0, 1)
    config.quick.datasets = ConfigDict({"synthetic": smallest()})
    return config


def smallest() -> ConfigDict:
    """Returns the config of the demo at a size that trains within seconds."""
    config = demo.get_config()
    config.data.synthetic.subjects = 6
    config.data.synthetic.minutes = 4.0
    config.model.width = 4
    config.model.resnet_blocks = (1,)
    config.model.densenet_blocks = (1,)
    config.model.embedding = 8
    config.model.projection_hidden = 8
    config.model.projection = 8
    config.model.fusion_hidden = 8
    config.train.epochs = 2
    return config


def compare_with(reference: str, rows) -> tuple:
    """Returns the pairs for `study.compare` that compare every other row with a reference."""
    return tuple((row, reference) for row in rows if row != reference)


def stage(name: str, rows: dict[str, dict]) -> tuple:
    """Returns a stage of `study.stages` from {row: {field: value}}."""
    return (name, tuple((row, tuple(fields.items())) for row, fields in rows.items()))


def divide(config: ConfigDict, division: str) -> None:
    """Sets protocol and folds of all data sets of a study from `groups,FOLDS` or `loso,SUBJECTS`.

    Raises:
      ConfigError: it is neither, or has fewer than three folds.
    """
    protocol, _, folds = division.partition(",")
    if protocol not in ("groups", "loso") or not folds.isdecimal() or int(folds) < 3:
        raise ConfigError(f"{division!r}: expected groups,FOLDS or loso,SUBJECTS with three at least, as groups,5")
    for dataset in (*config.datasets.values(), *config.quick.datasets.values()):
        dataset.data.protocol = protocol
        if protocol == "groups":
            dataset.data.folds = int(folds)
    config.study.folds = tuple(range(int(folds)))


def choose(datasets: dict, names: str) -> dict:
    """Returns the data sets that a config's argument names, `NAME,NAME`.

    Raises:
      ConfigError: there is no data set of a name.
    """
    for name in names.split(","):
        if name not in datasets:
            raise ConfigError(f"{name!r} is not one of this study's data sets: {', '.join(datasets)}")
    return {name: datasets[name] for name in names.split(",")}
