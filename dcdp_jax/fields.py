"""The table of config fields: default, allowed values and documentation of each, once.

`configs/default.py` builds its config from this table, `check_config` checks values against it, and `docs/config.md` is
generated from it. Adding a field is adding one line here. A new field's default must reproduce the results of runs that
were made before the field existed, because such runs are read as if they had it.

The module imports nothing but the config library, so that `--help` and a misspelt field are answered at once.
"""

import functools
import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict


class Field(NamedTuple):
    """One config field. Its type is that of its default."""

    name: str  # dotted path, `section.field`
    default: Any  # the value that `configs/default.py` sets
    doc: str  # one sentence or two for `docs/config.md`, without the default and the allowed values
    low: float | None = None  # the smallest allowed number; of a tuple of numbers, the smallest allowed item
    above: float | None = None  # a bound that a number must exceed
    high: float | None = None  # the largest allowed number
    # the allowed values, of a tuple those of its items, or `"module:NAME"` of the names in dcdp_jax
    choices: tuple[Any, ...] | str | None = None
    # the type of the items of a tuple; None where a function of `dcdp_jax.config` checks them
    items: type | tuple[type, ...] | None = None
    affects_result: bool = True  # False for a `setting`


# Headings of docs/config.md, in its order: {section: sentence below the heading}.
SECTIONS = {
    "": "",
    "data": "",
    "data.synthetic": "Used with `data.name=synthetic` only.",
    "data.realworld": "Used with `data.name=realworld` only.",
    "data.table": "Used with `data.name=table` only; see [your own data](your_own_data.md).",
    "model": "",
    "loss": "",
    "cgm": "Confidence-driven gradient modulation.",
    "modulation": "Other methods of modulation, see `dcdp_jax/optim/methods.py`.",
    "optimizer": "",
    "train": "",
    "augment": "Augmentation of training windows; `dcdp_jax/train/augment.py` documents the order.",
    "parallel": "Devices and processes; see [scaling](scaling.md).",
    "serve": "How a trained model is used; see [using a model](using_a_model.md).",
    "study": "Used by the configs of `configs/studies/` only. A study is a grid of data sets, rows, folds and seeds, "
    "and each point of it is a training run.",
}
MAX_SEED = 2**31 - 1
# A field that says where things are or how faults are handled: a run may be resumed with another value of it.
setting = functools.partial(Field, affects_result=False)

FIELDS = (
    Field("seed", 0, "Seed of the initial parameters, batch order, augmentation and dropout.", low=0, high=MAX_SEED),
    #
    Field("data.name", "", "The data set.", choices="data.datasets:DATASETS"),
    setting("data.title", "", "Name of the data set in results and pages; if empty, `data.name`."),
    setting(
        "data.raw_dir",
        "",
        "Folder with the publisher's files or your tables. If empty, the environment variable `DCDP_RAW_DIR`; if "
        "that is empty too, a published data set is downloaded.",
    ),
    setting("data.cache_dir", "", "Folder for downloads and prepared data; if empty, `dcdp_jax` in the user's cache."),
    Field("data.require_complete", False, "Whether missing files of a published data set are an error."),
    Field(
        "data.protocol",
        "",
        "How recordings are split into training, validation and test. `loso` tests one subject and `groups` one group "
        "of subjects, see `data.fold`. `random` draws windows, so training and test share samples; results are marked "
        "`leaky`. Tables also have `subject` (no person in two sets) and `recording` (no recording in two sets). "
        "The introduction lists the protocols of each data set.",
    ),
    Field(
        "data.fold",
        0,
        "With `loso`, index of the subject that is tested; with `groups`, index of the group of subjects that is "
        "tested; with `random`, seed of the split.",
        low=0,
        high=MAX_SEED,
    ),
    Field("data.folds", 10, "With `groups`, number of groups of subjects.", low=3, high=10**6),
    Field(
        "data.validation",
        "protocol",
        "Who validates: the validation set of the protocol, or nobody. With `none`, the validation set is used for "
        "training.",
        choices=("protocol", "none"),
    ),
    Field(
        "data.heldout",
        (),
        "Training subjects who neither train nor validate. `modulation.confidence=heldout` measures the branches on "
        "their windows.",
        items=(str, int),
    ),
    Field(
        "data.within",
        "",
        "With `groups` and `loso`, the name of another protocol. Its test subjects are left out, and only the "
        "others are split.",
    ),
    Field("data.classes", (), "Names of the classes to keep; if empty, those of the protocol.", items=str),
    Field(
        "data.left_out_class",
        "",
        "A class that is left out of training and validation, so that the model does not have it. Its test windows "
        "measure how well the model recognises them as unknown. If empty, none.",
    ),
    Field(
        "data.calibration",
        0.0,
        "Seconds of each class, the first of each test subject, that are kept out of the test set. With them, "
        "`--mode=evaluate` adapts the classifiers to the subject. May differ from the value of the run.",
        low=0,
        high=1e6,
    ),
    Field("data.channels", (), "Names or groups of the channels to keep; if empty, all.", items=str),
    Field("data.decimate", 1, "Keep every n-th sample.", low=1, high=10**9),
    Field(
        "data.view",
        "raw",
        "Channels computed from the sensors' own, see `dcdp_jax/data/views.py`. `vertical` does not depend on the "
        "orientation of the device.",
        choices="data.views:VIEWS",
    ),
    Field("data.window", 128, "Samples per window.", low=1, high=10**9),
    Field("data.step", 64, "Samples from one window to the next, in training and testing.", low=1, high=10**9),
    Field(
        "data.train_starts",
        "fixed",
        "Where training windows begin: `fixed`, every `data.step` samples; or `random`, up to half a step away from "
        "there within the contiguous samples of one label, drawn for each window and epoch. Validation and test "
        "windows and classical models use the fixed ones.",
        choices=("fixed", "random"),
    ),
    Field(
        "data.label_rule",
        "mode",
        "Windows with several labels: `mode` cuts recordings where the label changes, so that there are none; "
        "`drop_mixed` leaves them out; `last` gives them the label of their last sample, `majority` the most frequent.",
        choices="data.windows:LABEL_RULES",
    ),
    Field(
        "data.join_recordings",
        False,
        "Whether windows run from one recording into the next, see `configs/oppo_challenge.py`.",
    ),
    Field(
        "data.normalize",
        "zscore",
        "Normalisation of each channel, with statistics of the training set.",
        choices="data.normalize:METHODS",
    ),
    setting(
        "data.stream",
        False,
        "Whether recordings stay on the host, and the windows of each batch are copied to the devices before its "
        "step. For recordings that exceed device memory. The results are the same.",
    ),
    #
    Field(
        "data.synthetic.task",
        "activities",
        "What the signals show: activities, or a task whose best possible accuracy is known, in which the "
        "modalities are complementary or redundant, or one of them is noise; see "
        "`dcdp_jax/data/synthetic_tasks.py`.",
        choices="data.datasets.synthetic:TASK_NAMES",
    ),
    Field("data.synthetic.seed", 0, "Seed of the signals.", low=0, high=MAX_SEED),
    Field("data.synthetic.subjects", 10, "Number of people.", low=1, high=10**6),
    Field("data.synthetic.minutes", 6.0, "Minutes of recording per person.", above=0, high=1e6),
    Field("data.synthetic.rate", 25.0, "Sampling rate in Hz.", above=0, high=1e6),
    Field("data.synthetic.noise", 0.25, "Standard deviation of the white noise, in g and in rad/s.", low=0, high=1e6),
    Field(
        "data.synthetic.weak_group",
        "gyro",
        "Channel group that carries less information about the activity.",
        choices=("acc", "gyro"),
    ),
    Field(
        "data.synthetic.weakness",
        0.6,
        "Share of the weak group's signal that is replaced by noise: 0 for none of it, 1 for all of it.",
        low=0,
        high=1,
    ),
    #
    Field(
        "data.realworld.position",
        "waist",
        "Where the phone is worn; `all` reads the phones of all positions as separate recordings.",
        choices="data.datasets.realworld:CHOICES",
    ),
    #
    Field(
        "data.table.files",
        ("*.csv",),
        "Patterns of file names below `data.raw_dir`, as `**/*.parquet`; case is ignored, hidden files are left out.",
        items=str,
    ),
    Field("data.table.delimiter", ",", "Character between the columns of a text file."),
    Field("data.table.decimal", ".", "Decimal point of a text file.", choices=(".", ",")),
    Field(
        "data.table.skip_lines", 0, "Lines before the column names, or before the rows without them.", low=0, high=10**4
    ),
    Field("data.table.header", (), "Column names of files without a header line.", items=str),
    Field("data.table.units_rows", 0, "Lines between the column names and the first row.", low=0, high=10**4),
    Field("data.table.line_end", "", "Text at the end of every line that does not belong to its last column, as `;`."),
    Field(
        "data.table.preamble",
        "",
        "Regular expression that finds the rate, `(?P<rate>...)`, and optionally the time of the first row, "
        "`(?P<start>...)`, in the skipped lines of files without a time column.",
    ),
    Field(
        "data.table.time",
        "time",
        "Column with the time of each row; if empty, rows are 1 / rate apart and are not resampled.",
    ),
    Field(
        "data.table.time_unit",
        "s",
        "Unit of time; `datetime` for dates. Dates and durations in Parquet files need no unit.",
        choices="data.table_cells:TIME_UNITS",
    ),
    Field(
        "data.table.time_format",
        "",
        "Format of dates, as `%d.%m.%Y %H:%M:%S.%f`; if empty, ISO 8601; a zone may follow, as ` [Europe/London]`.",
    ),
    Field(
        "data.table.repeated",
        "error",
        "Treatment of rows with the time of the previous row: `error` leaves them out if they are few (5 %), "
        "`spread` spreads them evenly until the next time, `drop` leaves them out, `mean` averages them. Where "
        "times are cut to seconds and a recording begins or ends within one, `spread` puts the rows of the first "
        "second at its end, and those of the last at its beginning, as far apart as in the second beside it.",
        choices="data.resample:REPEATED",
    ),
    Field(
        "data.table.label",
        "label",
        "Column with the activity; if empty, there are no labels. Rows with an empty label belong to no window.",
    ),
    Field("data.table.subject", "subject", "Column with the person; if empty, the path of the file is the person."),
    Field(
        "data.table.recording",
        "",
        "Column with the recording; if empty, a file is one recording of each of its subjects.",
    ),
    Field(
        "data.table.path_pattern",
        "",
        "Regular expression that finds `(?P<subject>...)`, `(?P<recording>...)` or `(?P<label>...)` in the path of a "
        "file below `data.raw_dir`, in place of the column.",
    ),
    Field(
        "data.table.annotations",
        "",
        "File of labels beside each table, as `{stem}_labels.csv`, with the columns `start`, `end` (in "
        "`data.table.time_unit`) and `label`.",
    ),
    Field(
        "data.table.beside",
        (),
        "Other files of the same recording, with their own clocks: `(part of the path, its replacement, prefix of "
        "their column names)`.",
    ),
    Field(
        "data.table.channels",
        (),
        "`(column, group, site on the body, unit)` of each signal. `model.branches` names groups or columns.",
    ),
    Field("data.table.rate", 50.0, "Sampling rate in Hz to which rows are resampled.", above=0),
    Field(
        "data.table.resample",
        "linear",
        "Value of a sample between two rows: interpolated (`linear`), or that of the nearer row (`nearest`).",
        choices="data.resample:METHODS",
    ),
    Field(
        "data.table.max_gap", 1.0, "A recording is divided where rows are more than this many seconds apart.", above=0
    ),
    Field(
        "data.table.missing",
        "interpolate",
        "Treatment of cells without a value: `interpolate` between the values before and after, if these are at most "
        "`data.table.max_gap` apart; `split` the recording there; or `error`.",
        choices="data.resample:MISSING",
    ),
    Field(
        "data.table.missing_values",
        (),
        "Numbers that stand for a missing value in the columns of channels, as `(-9999,)`.",
        items=(int, float),
    ),
    Field(
        "data.table.test",
        (),
        "Names of the subjects (protocol `subject`) or recordings (protocol `recording`) that are tested; if empty, "
        "the last fifth.",
        items=(str, int),
    ),
    Field(
        "data.table.validation", (), "As `data.table.test`; if empty, the fifth before the test set.", items=(str, int)
    ),
    Field(
        "data.table.bad_lines", 100, "Number of unreadable lines in a row that ends a live stream.", low=1, high=10**9
    ),
    #
    Field(
        "model.name",
        "dcdp_har",
        "The model of the paper, or a baseline on all channels. A baseline has no branches, so `cgm.enabled` must "
        "be False. A baseline network uses only `model.width` and `model.instance_norm` of the fields below; a "
        "classical model uses only `seed` and `data`.",
        choices="config:MODELS",
    ),
    Field(
        "model.branches",
        (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro",))),
        "`(name, backbone, channels or channel groups)` of each branch. The branches share no channel and together "
        "have all channels.",
    ),
    Field(
        "model.partition",
        "named",
        "How channels are assigned to branches: `named`, as `model.branches` says; or as a control experiment: `swap` "
        "gives each branch the group of the next, `random` draws groups of the same sizes, and `single` gives all "
        "channels to the first branch and drops the others.",
        choices="data.partition:CONTROLS",
    ),
    Field(
        "model.width",
        64,
        "Channels of the first ResNet stage and of DenseNet's stem; even, because DenseNet's growth is half of it.",
        low=2,
        high=4096,
    ),
    Field("model.densenet_width", 0, "DenseNet's own width; 0 for `model.width`.", low=0, high=4096),
    Field("model.resnet_blocks", (3, 4, 6, 3), "Basic blocks per ResNet stage.", low=1, items=int),
    Field("model.densenet_blocks", (4, 4, 6, 4), "Layers per dense block, one block per stage.", low=1, items=int),
    Field("model.embedding", 256, "d, the size of each branch's embedding h.", low=1, high=65536),
    Field("model.projection_hidden", 256, "Hidden size of the projection heads.", low=1, high=65536),
    Field("model.projection", 128, "Size of the projections z.", low=1, high=65536),
    Field(
        "model.fusion",
        "concat",
        "How the branches are fused: a classifier on the concatenated embeddings, a classifier on their gated sum, "
        "or the sum of the branches' own logits; see `dcdp_jax/models/fusion.py`.",
        choices="models.fusion:FUSIONS",
    ),
    Field("model.fusion_hidden", 256, "Hidden size of the fusion classifier.", low=1, high=65536),
    Field("model.dropout", 0.5, "Dropout rate of the fusion classifier.", low=0, high=0.999),
    Field(
        "model.modality_dropout",
        0.0,
        "Share of the training windows in which the fusion reads a learnt vector instead of one branch; every "
        "branch has the same probability.",
        low=0,
        high=1,
    ),
    Field(
        "model.instance_norm",
        False,
        "Whether a network also reads each channel standardised within its window, and the logarithm of the standard "
        "deviation that it had there.",
    ),
    #
    Field("loss.align_weight", 0.7, "lambda, the weight of contrast and alignment.", low=0),
    Field("loss.temperature", 0.5, "tau, the temperature of the contrast.", low=1e-4),
    Field(
        "loss.align_reduction",
        "mean",
        "How the squared error of the alignment is reduced over the features of the embeddings: `mean` (the paper), "
        "or `sum`, which is `model.embedding` times as large.",
        choices="losses:ALIGN_REDUCTIONS",
    ),
    Field("loss.label_smoothing", 0.0, "Label smoothing of every cross-entropy.", low=0, high=0.999),
    #
    Field("cgm.enabled", True, "Whether CGM acts; used with `modulation.name=cgm` only."),
    Field("cgm.alpha", 0.9, "Strength of the modulation: M = 1 - tanh(alpha (R - 1)) for R > 1.", low=0),
    Field("cgm.eps", 1e-8, "Keeps R finite if the other branches have no confidence.", above=0, high=1),
    Field(
        "cgm.scope",
        "branch",
        "What is modulated: the gradient of the total loss for the whole `branch`; that of the three cross-entropies, "
        "without contrast and alignment (`classification`, the paper's formula to the letter); or that of the total "
        "loss for the branch's classifier alone (`head`).",
        choices=("branch", "classification", "head"),
    ),
    Field(
        "cgm.placement",
        "before",
        "Where the modulation acts: `before` the optimiser's moments (the paper), `after` them, or on the first moment "
        "only (`decoupled`); see [Adam and modulation](adam_and_modulation.md).",
        choices="optim.methods:PLACEMENTS",
    ),
    Field("cgm.start_epoch", 0, "Epochs before the first modulated one.", low=0, high=10**6),
    Field("cgm.end_epoch", 0, "The last modulated epoch; 0 for the last of all.", low=0, high=10**6),
    #
    Field(
        "modulation.name",
        "cgm",
        "The method that modulates the branches' gradients. `cgm` is configured by `cgm.*` and acts if "
        "`cgm.enabled`. Any other method ignores `cgm.enabled` and is configured by the fields below. `random` "
        "shuffles the coefficients of CGM (`cgm.alpha`, `cgm.eps`) between branches and steps; `random_mean_one` "
        "also divides them by their mean.",
        choices="optim.methods:NAMES",
    ),
    Field(
        "modulation.scope",
        "branch",
        "What is modulated: the gradient of the whole `branch`, or of its classifier alone (`head`).",
        choices=("branch", "head"),
    ),
    Field(
        "modulation.placement",
        "before",
        "Where the method acts relative to the optimiser's moments; `ogm_ge`, `inforeg` and `mmpareto` support only "
        "`before`.",
        choices=("before", "after"),
    ),
    Field(
        "modulation.confidence",
        "train",
        "On which windows the branches' confidence, or another statistic that the method uses, is measured: those "
        "of the training batch (`train`); those of people outside the training set, with the running statistics "
        "(`heldout`: `data.heldout`, or if empty the validation set); or as the exponential average over the "
        "training batches (`ema`). Used by `cgm` as well.",
        choices=("train", "heldout", "ema"),
    ),
    Field(
        "modulation.confidence_every",
        10,
        "`heldout`: number of steps between two draws of windows, as many as a batch has. Test windows are never "
        "drawn.",
        low=1,
        high=10**6,
    ),
    Field("modulation.confidence_decay", 0.9, "`ema`: decay of the average.", low=0, high=0.999999),
    Field("modulation.start_epoch", 0, "Epochs before the first modulated one; ARL's source has 6.", low=0, high=10**6),
    Field("modulation.end_epoch", 0, "The last modulated epoch; 0 for the last of all.", low=0, high=10**6),
    Field("modulation.alpha", 0.1, "Strength of `ogm` and `ogm_ge`: 1 - tanh(alpha R) for R > 1.", low=0),
    Field("modulation.rho", 1.3, "Scale of the coefficients of `cggm`.", low=0),
    Field("modulation.rescale", 1.5, "Factor on the combined gradient of `mmpareto` (gamma of its source).", low=0),
    Field("modulation.strong", 0.5, "`rank`: coefficient of the branch with the highest confidence.", low=0),
    Field("modulation.weak", 1.0, "`rank`: coefficient of the other branches.", low=0),
    Field("modulation.beta", 0.95, "`inforeg`: strength of the pull towards the start of the epoch.", low=0),
    Field(
        "modulation.threshold", 0.04, "`inforeg`: smallest relative growth of the Fisher trace at which the pull acts."
    ),
    Field("modulation.temperature", 8.0, "`arl`: factor on the scores before the softmax (T of its source).", low=0),
    Field(
        "modulation.least_share", 0.3, "`arl`: smallest share of a branch in the sum of entropies.", low=1e-6, high=1
    ),
    Field(
        "modulation.memory",
        1000,
        "`random` and `random_mean_one`: number of steps whose coefficients are shuffled.",
        low=1,
        high=10**6,
    ),
    #
    Field("optimizer.name", "adamw", "The optimiser.", choices="optim.chain:OPTIMIZERS"),
    Field("optimizer.learning_rate", 1e-3, "Learning rate after the warm-up.", low=0),
    Field(
        "optimizer.schedule",
        "cosine",
        "How the learning rate changes after the warm-up: cosine decay to zero, or constant.",
        choices="optim.chain:SCHEDULES",
    ),
    Field("optimizer.warmup_fraction", 0.05, "Share of all steps in the linear warm-up.", low=0, high=0.999),
    Field("optimizer.b1", 0.9, "Decay rate of the first moment: beta of the paper's momentum.", low=0, high=0.999999),
    Field("optimizer.b2", 0.999, "Decay rate of Adam's second moment.", low=0, high=0.999999),
    Field("optimizer.eps", 1e-8, "Added to Adam's denominator.", low=0, high=1),
    Field("optimizer.weight_decay", 0.01, "Weight decay; used by `adamw` only.", low=0),
    Field("optimizer.clip_norm", 0.0, "Global gradient norm above which gradients are clipped; 0 for never.", low=0),
    #
    Field("train.epochs", 100, "Passes over the training set.", low=1, high=10**6),
    Field("train.batch_size", 128, "Windows per step, over all devices.", low=2, high=10**6),
    Field(
        "train.sampling",
        "shuffle",
        "Which windows an epoch uses: a `shuffle` of all; or `balanced`, as many windows with all classes equally "
        "frequent. Windows of rare classes are then repeated, and a different part of the frequent ones is left out "
        "in each epoch.",
        choices=("shuffle", "balanced"),
    ),
    Field(
        "train.class_weights",
        (),
        "Factors on the cross-entropies in the training loss: `('balanced',)`, inverse to the number of training "
        "windows of each class, with mean 1 over the windows; or `((class, factor), ...)`, with 1 for classes that "
        "are not named; () for none. The sum over a batch is divided by `train.batch_size`, not by the sum of the "
        "factors.",
    ),
    Field(
        "train.sam_rho",
        0.0,
        "Sharpness-aware minimisation: each step uses the gradient at the parameters this far away in the direction "
        "in which the loss rises most, at nearly twice the time; 0 for none. The source uses 0.05. Modulation acts "
        "on that gradient, with the confidence at the original parameters.",
        low=0,
        high=100,
    ),
    Field("train.log_every", 10, "Steps between records of metrics.", low=1, high=10**9),
    setting(
        "train.diagnosis_batches",
        0,
        "Number of training batches after every epoch on which the gradient of each branch's own loss is compared "
        "with that of the losses that the branches share, see [the report](reading_the_report.md); 0 for none. A "
        "batch costs the time of about two steps, and training does not depend on the number.",
        low=0,
        high=10**6,
    ),
    Field(
        "train.selection",
        "best",
        "Which state is tested: the `best` epoch by macro F1 on the validation set; the `last`; or `ema`, an "
        "exponential moving average of the parameters and batch statistics, after the last epoch.",
        choices=("best", "last", "ema"),
    ),
    Field(
        "train.ema_decay",
        0.999,
        "Decay of the average of `train.selection=ema`; the smaller of it and (1 + step) / (10 + step) is used.",
        low=0,
        high=0.999999,
    ),
    setting(
        "train.checkpoint_every",
        1,
        "Epochs from one checkpoint to the next. The best epoch by validation and the last one are always saved. A "
        "killed run resumes from the last checkpoint, a preempted one (SIGTERM) from its last step.",
        low=1,
        high=10**6,
    ),
    setting(
        "train.steps_per_dispatch", 0, "Steps in one program; 0 for 1 on CPUs and 32 elsewhere.", low=0, high=10**6
    ),
    Field(
        "train.precision",
        "auto",
        "`tf32` computes products with 10 bits of mantissa on GPUs that have it; `bfloat16` keeps activations in 16 "
        "bits. Parameters, statistics, softmax and losses are float32 in all cases. `auto` is `tf32` on GPUs of "
        "compute capability 8.0 or above and `float32` elsewhere; `precision` in result.json says which.",
        choices=("auto", "float32", "tf32", "bfloat16"),
    ),
    setting(
        "train.skip_nonfinite",
        0,
        "Number of steps with a NaN or infinite loss or gradient that are skipped before the run stops.",
        low=0,
        high=10**9,
    ),
    #
    Field("augment.enabled", False, "Whether training windows are augmented."),
    Field(
        "augment.probability", 0.5, "Probability of each of the five transformations for every window.", low=0, high=1
    ),
    Field("augment.jitter_sigma", 0.05, "Standard deviation of noise on normalised signals; 0: off.", low=0, high=100),
    Field(
        "augment.scaling_sigma", 0.1, "Standard deviation of each channel's factor around 1; 0: off.", low=0, high=100
    ),
    Field("augment.rotation", True, "Whether 3-axis sensors are rotated, by one matrix per device."),
    Field(
        "augment.rotation_kind",
        "uniform",
        "Which rotations: `uniform` over all rotations; or `gravity`, by any angle about the window's mean "
        "acceleration of each device, with a small tilt.",
        choices=("uniform", "gravity"),
    ),
    Field(
        "augment.rotation_tilt",
        5.0,
        "With `gravity`, the largest angle in degrees between the mean acceleration and the rotated one.",
        low=0,
        high=180,
    ),
    Field(
        "augment.mirror",
        0.0,
        "Probability that a window is replaced by that of devices worn on the other side of the body, see "
        "`dcdp_jax/data/vectors.py`.",
        low=0,
        high=1,
    ),
    Field(
        "augment.mirror_axes",
        (),
        "`((site, axis), ...)`: the axis (x, y or z) of each site's device that is reflected on the other side, in "
        "addition to those that the data set's module states.",
    ),
    Field("augment.time_warp_sigma", 0.2, "Standard deviation of the speed around 1; 0: off.", low=0, high=100),
    Field("augment.time_warp_knots", 4, "Knots of the curve of speeds.", low=1, high=1000),
    Field("augment.permutation_segments", 4, "Segments that are permuted; 1: off.", low=1, high=1000),
    Field(
        "augment.mixup_alpha",
        0.0,
        "alpha of mixup: every window and its cross-entropies are mixed with those of another window of the batch, "
        "with shares from Beta(alpha, alpha); 0: off. Confidences and accuracy use the label with the larger share.",
        low=0,
        high=1000,
    ),
    #
    Field(
        "parallel.strategy",
        "pmap",
        "How a step is run over devices; `jit` uses `shard_map` over a mesh. The results are the same.",
        choices="config:STRATEGIES",
    ),
    setting("parallel.devices", 0, "Devices of each process; 0 for all.", low=0, high=10**6),
    setting(
        "parallel.distributed",
        False,
        "Whether several processes, one per host or per device, train together. Start each with the same command. "
        "Slurm, Open MPI and Kubernetes provide JAX with the rest; elsewhere set the three fields below.",
    ),
    setting("parallel.coordinator", "", "`HOST:PORT` of process 0."),
    setting("parallel.processes", 0, "Number of processes.", low=0, high=10**6),
    setting("parallel.process_id", 0, "Index of this process; it alone differs between them.", low=0, high=10**6),
    #
    setting(
        "serve.adapt",
        "none",
        "With `norm`, the statistics of batch normalisation follow the windows that predict, stream and the "
        "exported model answer. Each recording begins with the training statistics.",
        choices=("none", "norm"),
    ),
    setting("serve.adapt_rate", 0.003, "With `norm`, weight of each window in the running averages.", above=0, high=1),
    setting(
        "serve.adapt_share",
        0.1,
        "With `serve.adapt=norm`, the largest share of the windows in the statistics of batch normalisation. The "
        "rest is from training, which limits the harm of a recording with few activities.",
        above=0,
        high=1,
    ),
    setting(
        "serve.compute_body",
        False,
        "Whether channels `body_X` of the model, such as UCI-HAR's, are computed from `total_X` as by "
        "`data.view=body`, for devices that measure only accelerations with gravity.",
    ),
    Field(
        "serve.coverage",
        0.95,
        "Share of the validation windows that are answered: the confidence threshold for `unknown` is the largest "
        "one that this share reaches. It is chosen at the end of training and stored in model.json.",
        above=0,
        high=1,
    ),
    setting(
        "serve.unknown",
        False,
        "Whether predict, stream and the exported model scale the probabilities by the temperature in model.json "
        "and answer `unknown` below its confidence threshold, or beyond its distance.",
    ),
    setting(
        "serve.unknown_score",
        "probability",
        "With `serve.unknown`, what the threshold applies to: the `probability` of the answer; or the `distance` of "
        "the window to the training windows of the nearest class, by its probabilities and its channels' means and "
        "standard deviations, see `dcdp_jax/density.py`. For a window that lacks a channel, the probability "
        "decides. Exported models do not support `distance`.",
        choices=("probability", "distance"),
    ),
)

METHOD, SHUFFLED = "modulation.name", ("random", "random_mean_one")
# Fields that are read only with some values of another field: (fields, other field, whether the values that follow are
# those with which they are read, values). A run notes such a field if it is set and not read.
CONDITIONS = (
    ("data.folds", "data.protocol", True, ("groups",)),
    ("model.fusion_hidden model.dropout", "model.fusion", False, ("sum",)),
    ("cgm.scope cgm.placement cgm.start_epoch cgm.end_epoch", METHOD, True, ("cgm",)),
    ("cgm.scope cgm.placement cgm.start_epoch cgm.end_epoch", "cgm.enabled", True, (True,)),
    ("cgm.alpha cgm.eps", METHOD, True, ("cgm", *SHUFFLED)),
    ("modulation.confidence", METHOD, False, ("none",)),
    ("modulation.confidence_every", "modulation.confidence", True, ("heldout",)),
    ("modulation.confidence_decay", "modulation.confidence", True, ("ema",)),
    (
        "modulation.scope modulation.placement modulation.start_epoch modulation.end_epoch",
        METHOD,
        False,
        ("none", "cgm"),
    ),
    ("modulation.alpha", METHOD, True, ("ogm", "ogm_ge")),
    ("modulation.rho", METHOD, True, ("cggm",)),
    ("modulation.rescale", METHOD, True, ("mmpareto",)),
    ("modulation.strong modulation.weak", METHOD, True, ("rank",)),
    ("modulation.beta modulation.threshold", METHOD, True, ("inforeg",)),
    ("modulation.temperature modulation.least_share", METHOD, True, ("arl",)),
    ("modulation.memory", METHOD, True, SHUFFLED),
    ("optimizer.b2 optimizer.eps", "optimizer.name", False, ("sgd",)),
    ("optimizer.weight_decay", "optimizer.name", True, ("adamw",)),
    ("train.ema_decay", "train.selection", True, ("ema",)),
    ("augment.probability augment.jitter_sigma augment.scaling_sigma", "augment.enabled", True, (True,)),
    ("augment.rotation augment.mirror augment.mixup_alpha", "augment.enabled", True, (True,)),
    ("augment.time_warp_sigma augment.time_warp_knots", "augment.enabled", True, (True,)),
    ("augment.permutation_segments", "augment.enabled", True, (True,)),
    ("augment.rotation_kind", "augment.rotation", True, (True,)),
    ("augment.rotation_tilt", "augment.rotation_kind", True, ("gravity",)),
)

STUDY_FIELDS = (
    Field("study.quick", False, "Whether the same rows are trained on small synthetic data."),
    Field("study.seeds", (0, 1, 2, 3, 4), "Seeds of every row.", low=0, high=MAX_SEED, items=int),
    Field(
        "study.folds",
        (),
        "Values of `data.fold`; if empty, the value in the data set's config.",
        low=0,
        high=MAX_SEED,
        items=int,
    ),
    Field(
        "study.inner_folds",
        0,
        "Nested selection: rows of all stages but the last are trained and chosen in this many folds over the "
        "training subjects. The last stage trains on all training subjects and evaluates the test set. There is no "
        "validation set. 0 for none.",
        low=0,
        high=10**6,
    ),
    Field(
        "study.stages",
        (),
        "`((stage, ((row, ((field, value), ...)), ...)), ...)`. A stage builds on the best row of the stage before, by "
        "the mean validation score over its data sets, seeds and folds; a row without a trial that another row has "
        "finished is not chosen. A field `NAME:field` is set for that data set alone.",
    ),
    Field(
        "study.compare",
        (),
        "`(row, reference row)` of each comparison, see `compare_with` in `configs/studies/default.py`.",
    ),
    Field(
        "study.oracles",
        (),
        "`(row, (row, ...))`: the product of the probabilities of the second rows is the oracle of the first. For "
        "each row compared with the first, the page gives how much of the gap between first row and oracle it "
        "closes.",
    ),
    Field("study.shown", "", "The row whose confusion matrices are drawn; if empty, the best of the last stage."),
    Field("study.selection", "f1_macro", "The score by which rows are chosen.", choices="metrics:SCORES"),
    Field(
        "study.scores",
        ("accuracy", "f1_macro"),
        "The scores in the tables.",
        choices="studies.rendering:SCORE_NAMES",
        items=str,
    ),
    Field("study.paper", (), "`(row, data set, score, percent)` as published."),
    Field(
        "study.engine",
        "local",
        "Where the processes of training runs run: on this machine (`local`) or on a Ray cluster, see "
        "[scaling](scaling.md).",
        choices=("local", "ray"),
    ),
    Field(
        "study.workers", 1, "With `local`, number of training runs at once, each in its own process.", low=1, high=10**6
    ),
    Field(
        "study.address",
        "",
        "With `ray`, `HOST:PORT` or `auto`; if empty, the cluster that `ray.init()` finds, else this machine.",
    ),
    Field("study.cpus_per_group", 1.0, "With `ray`, CPUs of a job, the trials that one process trains.", low=0),
    Field("study.gpus_per_group", 0.0, "With `ray`, GPUs of a job; 0.5 lets two jobs share one.", low=0),
    Field(
        "study.seeds_at_once",
        1,
        "Number of runs that one program trains at once, with the files and the results of single runs: the seeds "
        "of a row and, if these are fewer, rows that differ only in hyperparameters; see [scaling](scaling.md).",
        low=1,
        high=10**6,
    ),
    Field(
        "study.devices_divide",
        "windows",
        "What several devices divide: the windows of every seed's batch, or the seeds that are trained at once.",
        choices=("windows", "seeds"),
    ),
    Field("study.keep_checkpoints", False, "Whether checkpoints of finished runs are kept."),
    Field("study.raw_dir", "", "`data.raw_dir` of every run."),
    Field("study.cache_dir", "", "`data.cache_dir` of every run."),
)


def make_config(fields: Sequence[Field]) -> ConfigDict:
    """Returns a config with every field of a table at its default."""
    config: dict[str, Any] = {}
    for field in fields:
        *sections, last = field.name.split(".")
        part = config
        for section in sections:
            part = part.setdefault(section, {})
        part[last] = field.default
    return ConfigDict(config)


def choices_of(field: Field) -> tuple[Any, ...]:
    """Returns the allowed values of a field with choices; imports the module that defines them if need be."""
    if isinstance(field.choices, str):
        module, _, name = field.choices.partition(":")
        return tuple(getattr(importlib.import_module(f"dcdp_jax.{module}"), name))
    return field.choices or ()


def allowed(field: Field) -> str:
    """Returns what a field accepts, for the documentation.

    >>> allowed(Field("train.epochs", 100, "", low=1, high=10**6))
    '1 to 1000000'
    >>> allowed(Field("data.synthetic.rate", 25.0, "", above=0))
    'above 0'
    """
    if isinstance(field.default, bool):
        return "True, False"
    if field.choices:
        return ", ".join(map(str, choices_of(field)))
    if field.above is not None:
        return f"above {field.above}" + (f" to {field.high:g}" if field.high is not None else "")
    if field.low is not None:
        return f"{field.low} to {field.high}" if field.high is not None else f"at least {field.low}"
    return {str: "text", tuple: "tuple", int: "whole number", float: "number"}[type(field.default)]
