"""What every study has. A study is a grid: data sets x rows x folds x seeds, each point a training run of its own."""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
    config = ConfigDict()

    config.study = ConfigDict()
    config.study.quick = False  # the same rows on small synthetic data
    config.study.seeds = (0, 1, 2, 3, 4)
    config.study.folds = ()  # of data.fold; (): that of the data set's config
    # ((stage, ((row, ((field, value), ...)), ...)), ...). A stage builds on the best row of the stage before, by the
    # mean validation score over its data sets, seeds and folds. A field `NAME:field` is for that data set alone.
    config.study.stages = ()
    config.study.compare = ()  # (row, the row that it is compared with), see `compare_with`
    config.study.shown = ""  # the row whose confusion matrices are drawn; "": the best of the last stage
    config.study.selection = "f1_macro"
    config.study.scores = ("accuracy", "f1_macro")
    config.study.paper = ()  # (row, data set, score, percent) as published
    config.study.engine = "local"  # this machine's processes, or "ray": those of a cluster, see docs/scaling.md
    config.study.workers = 1  # local: training runs at once, each in a process of its own
    config.study.address = ""  # ray: HOST:PORT or "auto"; "": the cluster that `ray.init()` finds, else this machine
    config.study.cpus_per_group = 1.0  # ray: for a training run; the seeds of a row follow one another as one group
    config.study.gpus_per_group = 0.0  # ray: 0.5 lets two share a GPU
    # How many of a group's seeds one program trains; each has its own files, and the numbers that it has alone: see
    # docs/scaling.md. 1: one after the other.
    config.study.seeds_at_once = 1
    config.study.devices_divide = "windows"  # of every seed's batch; or "seeds", those that are trained at once
    config.study.keep_checkpoints = False
    config.study.raw_dir = ""  # as data.raw_dir
    config.study.cache_dir = ""  # as data.cache_dir

    config.datasets = ConfigDict()  # name: config

    config.quick = ConfigDict()  # what quick=True takes instead of seeds and datasets
    config.quick.seeds = (0, 1)
    config.quick.datasets = ConfigDict({"synthetic": smallest()})
    return config


def smallest() -> ConfigDict:
    """The demo at a size that trains within seconds."""
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
    """Pairs for study.compare: every other row with one."""
    return tuple((row, reference) for row in rows if row != reference)


def stage(name: str, rows: dict[str, dict]) -> tuple:
    """A stage from {row: {field: value}}."""
    return (name, tuple((row, tuple(fields.items())) for row, fields in rows.items()))
