"""Schemas of the JSON files of a run: types and ranges, checked when a file is read."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict, TypeVar

import msgspec
from msgspec import Meta

from dcdp_jax.errors import CheckpointError
from dcdp_jax.rejection import Rejection

T = TypeVar("T")
EDITED = "the file was cut off, edited, or written by another version"
# JSON has no NaN and no infinity, and the decoder refuses numbers beyond float64: every float is finite.
# A softmax of float32 may exceed 1 by rounding, most on accelerators.
Share = Annotated[float, Meta(ge=0, le=1.001)]
Positive = Annotated[float, Meta(gt=0)]
Amount = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1)]
# null leaves a gap in a curve.
Values = dict[str, float | None]
Amounts = dict[str, Amount | None]
# A quotient in float32 may exceed 1 by rounding.
Cosines = dict[str, Annotated[float, Meta(ge=-1.001, le=1.001)]]
Names = list[str]


class MainScores(TypedDict):
    """The scores by which splits, disturbances and subjects are compared."""

    accuracy: Share
    f1_macro: Share


class Scores(MainScores):
    """Scores of one split of the data: `dcdp_jax.metrics.scores`, mean loss and expected calibration error."""

    precision_macro: Share
    recall_macro: Share
    precision_weighted: Share
    recall_weighted: Share
    f1_weighted: Share
    loss: float
    ece: Share


class Detection(TypedDict):
    """Share of the known windows, and of those of the class that was left out, that a threshold calls unknown."""

    false_alarms: Share
    found: Share


class AllowedDetection(Detection):
    """Detection at the threshold with the largest share of false alarms that is allowed."""

    allowed: Share


class Separation(TypedDict):
    """How well a score separates windows of the class that was left out of training from the others."""

    auroc: Share  # area under the ROC curve
    found: list[AllowedDetection]
    at_threshold: NotRequired[Detection]


class LeftOut(Separation):
    """Separation by low confidence, and in `distance` by the distance to the training windows."""

    name: str
    windows: Number
    distance: NotRequired[Separation]


class Result(TypedDict):
    """result.json; other keys are kept.

    `at_once`: number of runs that one program trained together; `wall_seconds` is the time of all of them. `selection`
    is null for a classical model, which is fitted once.
    """

    dataset: str
    protocol: str
    seed: int
    class_names: Names
    test: Scores
    validation: NotRequired[Scores]
    branches: dict[str, Share]
    confusion: list[list[Count]]
    rejection: NotRequired[Rejection]
    kept_by_distance: NotRequired[list[tuple[Share, Share]]]
    left_out: NotRequired[LeftOut]
    windows: dict[str, Count]
    subjects: dict[str, list[int | str]]
    marks: Names
    notes: NotRequired[Names]
    data_fingerprint: str
    versions: dict[str, str]
    git_revision: str | None
    device: str
    precision: NotRequired[str]
    parameters: Count
    selection: NotRequired[Literal["best", "last", "ema"] | None]
    best_epoch: Count | None
    wall_seconds: Amount
    windows_per_second: Amount
    at_once: NotRequired[Number]
    command: str


class StepRecord(TypedDict):
    """A line of metrics.jsonl with means over the steps since the last such line; `S` is summed over `windows`."""

    kind: Literal["step"]
    epoch: Number
    step: Number
    steps: NotRequired[Number]
    windows: NotRequired[Count]
    accuracy: NotRequired[Share]
    loss: NotRequired[Values]
    S: NotRequired[Amounts]
    R: NotRequired[Amounts]
    M: NotRequired[Values]
    gradient_norm: NotRequired[Amounts]
    update_norm: NotRequired[Amounts]


class TrainMeans(TypedDict):
    """Means over the steps of an epoch."""

    loss: float
    accuracy: Share


class ValidationRecord(MainScores):
    """Scores after an epoch; `S` is summed over `windows`."""

    loss: float
    windows: Count
    S: NotRequired[Amounts]
    R: NotRequired[Amounts]
    branches: NotRequired[dict[str, Share]]


class GradientCosine(TypedDict):
    """Cosines of the gradients that each branch's encoder receives, see `dcdp_jax.train.diagnosis`."""

    fusion: Cosines
    shared: Cosines


class EpochRecord(TypedDict):
    """A line of metrics.jsonl about a whole epoch."""

    kind: Literal["epoch"]
    epoch: Number
    step: Number
    train: TrainMeans
    validation: NotRequired[ValidationRecord]
    gradient_cosine: NotRequired[GradientCosine]
    best: bool
    seconds: Amount


class Absence(TypedDict):
    """Scores without a branch, a site or a group of channels."""

    kind: str
    name: str
    channels: Names
    fused: MainScores
    fallback: NotRequired[MainScores]


class Noise(TypedDict):
    """Scores with Gaussian noise of a standard deviation of `level`."""

    level: Amount
    fused: MainScores


class Worn(Noise):
    """Scores of devices that are rotated, worn on the other side, sampled at another rate, or that lose samples."""

    kind: Literal["rotation", "mirror", "rate", "lost"]


class Robustness(TypedDict):
    """robustness.json. `shapley`: what each branch adds to the test accuracy, see `evaluate.shapley`."""

    clean: MainScores
    absent: list[Absence]
    shapley: NotRequired[Values]
    noise: list[Noise]
    worn: NotRequired[list[Worn]]


class SegmentCounts(TypedDict):
    """Number of segments of a class."""

    true: Count
    predicted: Count


class Onset(TypedDict):
    """Delays in seconds between true segments and the first predicted one of their class that overlaps them."""

    segments: Count
    found: Count
    mean: float | None
    median: float | None


class SegmentGrades(TypedDict):
    """segments.json, see `dcdp_jax.evaluate.segments.grade_segments`."""

    map: dict[str, Share]
    seconds: dict[str, dict[str, Amount]]
    segments: dict[str, SegmentCounts]
    onset: Onset


class CalibratedSubject(TypedDict):
    """Accuracy on a test subject's windows, before and after the classifiers were adapted to the subject."""

    windows: Number
    calibration_windows: Number
    before: Share
    after: Share


class Calibrated(TypedDict):
    """calibration.json, see `dcdp_jax.evaluate.calibrated.measure_calibration`."""

    seconds: Positive
    before: MainScores
    after: MainScores
    subjects: dict[str, CalibratedSubject]


class WorstChannel(TypedDict):
    """A channel of worst_windows.json."""

    name: str
    group: str
    unit: str


class WorstWindow(TypedDict):
    """A wrong window: `values` has a row per sample and a column per channel."""

    recording: str
    start: Count
    subject: str
    true: str
    predicted: str
    confidence: Share
    values: list[list[float]]


class WorstWindows(TypedDict):
    """worst_windows.json: the most confident errors, with their samples."""

    rate: Positive
    channels: list[WorstChannel]
    windows: list[WorstWindow]


def decode(content: bytes, schema: type[T], where: object) -> T:
    """Decodes JSON and checks it by a schema. Keys that the schema does not name are kept.

    Raises CheckpointError, which begins with `where` and names the field, if the content is not JSON, or a value has
    another type or is out of range.
    """
    try:
        found: Any = msgspec.json.decode(content)
        msgspec.convert(found, schema)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{where}: {str(error).replace('$.', '')}; {EDITED}") from None
    return found
